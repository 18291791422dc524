/** A connection to a simulated database: its transaction, what it waits for, and how it ends. */
import { EventEmitter } from "node:events";
import type { Writable } from "node:stream";
import type { Session, TransactionOptions } from "../../src/database/database.ts";
import { translate } from "../../src/database/database-errors.ts";
import { copyHeader, copyTrailer } from "../../src/slices/rules/tuples.ts";
import { Blocked } from "./locks.ts";
import type { Operation } from "./operation.ts";
import type { Connected, SimDatabase } from "./sim-database.ts";
import { copyIn, copyOut, run } from "./statements.ts";
import { checkAtCommit, pgError, type Tables, Tx } from "./tables.ts";

const lockTimeoutMs = 10_000;

/** One connection. */
export class SimSession implements Session, Connected {
  scope = "all";
  contentKey = 0;
  durable = true;
  readOnly = false;
  dropped = false;
  readonly backendPid = 0;
  #silent = false;
  #tx: Tx | undefined;
  /** A statement of the transaction has failed: it is rolled back already, and waits for its end. */
  #failed = false;
  #tail: Promise<unknown> = Promise.resolve();

  /** What its process uses it for at present. */
  purpose = "";

  constructor(readonly server: SimDatabase) {
    server.sessions.add(this);
  }

  async query<Row>(text: string, values: readonly unknown[] = []): Promise<Row[]> {
    return (await this.#statement({ kind: "query", text, values }, (tx) => run(this, tx, text, values))).rows as Row[];
  }

  async one<Row>(text: string, values?: readonly unknown[]): Promise<Row | undefined> {
    return (await this.query<Row>(text, values))[0];
  }

  async run(text: string, values: readonly unknown[] = []): Promise<number> {
    const { rows, count } = await this.#statement({ kind: "run", text, values }, (tx) => run(this, tx, text, values));
    return count ?? rows.length;
  }

  copyOut(text: string): never {
    const read = this.#statement({ kind: "copyOut", text }, (tx) => copyOut(tx, text));
    read.catch(() => {});
    const body = async function* () {
      yield Buffer.concat([copyHeader, await read, copyTrailer]);
    };
    return body() as never;
  }

  copyIn(text: string): Writable {
    const copy = new CopyIn((body) => this.#statement({ kind: "copyIn", text, body }, (tx) => copyIn(tx, text, body)));
    return copy as unknown as Writable;
  }

  async transaction<T>(work: (tx: Session) => Promise<T>, options: TransactionOptions = {}): Promise<T> {
    await this.#operation({ kind: "begin", options }, () => this.#begin(options));
    try {
      const result = await work(this);
      await this.#operation({ kind: "commit" }, () => this.#commit());
      return result;
    } catch (error) {
      await this.#operation({ kind: "rollback" }, () => this.#rollback()).catch(() => {});
      throw translate(error);
    }
  }

  destroy(): void {
    this.drop();
  }

  /** The connection is gone. @param silent its process too: nobody hears of it. @param busy the server goes on with what it does. */
  drop(silent = false, busy = false): void {
    this.#silent ||= silent;
    if (this.dropped) return;
    this.dropped = true;
    this.#tx = undefined;
    this.server.onOperation(this, { kind: "drop" }, {});
    this.server.sessions.delete(this);
    if (busy) return;
    this.server.locks.release(this, true);
    this.server.freed();
  }

  /** Whether a transaction is open. */
  get busy(): boolean {
    return this.#tx !== undefined;
  }

  #begin({ snapshot, readOnly }: TransactionOptions): void {
    this.#failed = false;
    this.#tx = this.#newTx(snapshot ?? false, readOnly ?? this.readOnly);
  }

  #newTx(snapshot: boolean, readOnly: boolean): Tx {
    const { server } = this;
    // A snapshot is taken by the first statement.
    let seen: Tables | undefined;
    const base = snapshot ? () => (seen ??= server.tables) : () => server.tables;
    return new Tx(base, server.locks, this, this.contentKey, server.next, readOnly);
  }

  #commit(): void {
    const tx = this.#tx;
    if (tx === undefined) return;
    if (this.#failed) {
      this.#rollback();
      return;
    }
    try {
      checkAtCommit(tx);
    } catch (error) {
      if (!(error instanceof Blocked)) this.#rollback();
      throw error;
    }
    this.#tx = undefined;
    this.#finish(tx);
  }

  #fail(): void {
    this.#failed = true;
    this.#release();
  }

  #rollback(): void {
    this.#tx = undefined;
    this.#release();
  }

  #finish(tx: Tx): void {
    const { server } = this;
    if (tx.changes.size > 0) {
      const next = server.faults.loseCommit;
      const lost = next?.of === undefined || tx.changes.has(next.of) ? next : undefined;
      if (lost !== undefined) server.faults.loseCommit = undefined;
      if (lost !== undefined) server.leave(lost.awayMs);
      if (lost?.committed === false) {
        server.onEvent("a commit is lost with its answer");
        throw this.#gone();
      }
      if (lost?.lateMs !== undefined) {
        server.onEvent("a commit goes on without its client");
        server.commitLate(this, tx.changes, this.durable, lost.lateMs);
        throw this.#gone(true);
      }
      server.commit(this, tx.changes, this.durable);
      if (lost?.committed) {
        server.onEvent("the answer to a commit is lost");
        throw this.#gone();
      }
    }
    this.#release();
  }

  #release(): void {
    this.server.locks.release(this);
    this.server.freed();
  }

  #gone(busy = false): Error {
    this.drop(false, busy);
    return new Error("Connection terminated unexpectedly");
  }

  /** A statement, in the open transaction or in one of its own. */
  #statement<T>(operation: Operation, work: (tx: Tx) => T): Promise<T> {
    const known = new Map<string, unknown>();
    return this.#operation(operation, () => {
      if (this.#tx !== undefined) {
        if (this.#failed) throw pgError("25P02", "current transaction is aborted");
        this.#tx.refresh(known);
        try {
          return work(this.#tx);
        } catch (error) {
          if (!(error instanceof Blocked)) this.#fail();
          throw error;
        }
      }
      const own = this.#newTx(false, this.readOnly);
      own.refresh(known);
      try {
        const result = work(own);
        checkAtCommit(own);
        this.#finish(own);
        return result;
      } catch (error) {
        if (!(error instanceof Blocked)) this.#release();
        throw error;
      }
    });
  }

  /** Operations of a connection come one after another, each after a while. */
  #operation<T>(operation: Operation, work: () => T): Promise<T> {
    const turn = this.#tail.then(() => this.#perform(operation, work));
    this.#tail = turn.catch(() => {});
    return turn;
  }

  #perform<T>(operation: Operation, work: () => T): Promise<T> {
    const { server } = this;
    return new Promise<T>((resolve, reject) => {
      let stopWaiting: (() => void) | undefined;
      let timeout: (() => void) | undefined;
      const fail = (error: unknown) => {
        if (!this.dropped) server.onOperation(this, operation, { error });
        if (!this.#silent) reject(translate(error));
      };
      const attempt = () => {
        stopWaiting?.();
        if (this.dropped) {
          timeout?.();
          fail(new Error("Connection terminated unexpectedly"));
          return;
        }
        try {
          const result = work();
          timeout?.();
          server.onOperation(this, operation, { result });
          resolve(result);
        } catch (error) {
          if (!(error instanceof Blocked)) {
            timeout?.();
            fail(error);
            return;
          }
          server.onOperation(this, operation, { blocked: error.message });
          stopWaiting = server.waitForLock(this, error.message, attempt);
          timeout ??= server.clock.after(lockTimeoutMs, () => {
            stopWaiting?.();
            server.onEvent("a lock is waited for in vain");
            fail(pgError("55P03", "canceling statement due to lock timeout"));
          });
        }
      };
      server.clock.after(server.latencyMs(), attempt);
    });
  }
}

/** As much of a stream as a COPY takes: written, ended, and then "finish" or "error". */
class CopyIn extends EventEmitter {
  readonly #pieces: Buffer[] = [];

  constructor(private readonly copy: (body: Buffer) => Promise<unknown>) {
    super();
  }

  write(piece: Buffer): boolean {
    this.#pieces.push(piece);
    return true;
  }

  end(last: Buffer): void {
    this.write(last);
    this.copy(Buffer.concat(this.#pieces).subarray(copyHeader.length)).then(
      () => this.emit("finish"),
      (error) => this.emit("error", error),
    );
  }

  destroy(): void {}
}
