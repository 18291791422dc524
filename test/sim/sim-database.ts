/**
 * A database in memory with what the program relies on in PostgreSQL: transactions that see what is committed, or one snapshot; row
 * locks and advisory locks, with a time limit; commits that are on disk or, with synchronous_commit off, not yet; row-level security.
 * It knows the program's statements (statements.ts), and is held to the real one by conformance.test.ts.
 */
import { EventEmitter } from "node:events";
import type { Writable } from "node:stream";
import type { Database, Session, TransactionOptions } from "../../src/database.ts";
import { translate } from "../../src/database-errors.ts";
import { SandpiperError } from "../../src/errors.ts";
import { everything, type Scope, scopeName } from "../../src/scope.ts";
import { copyHeader, copyTrailer } from "../../src/slices/tuples.ts";
import type { Random } from "../harness/random.ts";
import type { Clock } from "./clock.ts";
import type { Settings } from "./handler.ts";
import { Blocked, Locks } from "./locks.ts";
import type { Operation, Outcome } from "./operation.ts";
import { copyGrains, copyOut, run } from "./statements.ts";
import {
  apply,
  type Changes,
  checkAtCommit,
  type Faults,
  type Holder,
  noTables,
  pgError,
  type Sequence,
  type TableName,
  type Tables,
  Tx,
} from "./tables.ts";

const lockTimeoutMs = 10_000;

export class SimDatabase {
  tables: Tables = noTables();
  readonly locks = new Locks<Holder>();
  readonly faults: Faults = { loseCommit: undefined, diskFull: false };
  /** The server has stopped: what was, and what is left. */
  onCrash: (before: Tables, after: Tables) => void = () => {};
  /** Is told of every commit: who made it, and what was before. */
  onCommit: (session: Holder, before: Tables, changes: Changes) => void = () => {};
  /** Is told of what happens, by name. */
  onEvent: (name: string) => void = () => {};
  /** Is told of what sessions do, in the order in which it is done. */
  onOperation: (session: SimSession, operation: Operation, outcome: Outcome) => void = () => {};
  readonly sessions = new Set<SimSession>();
  /** The last number of each sequence. */
  readonly sequences = new Map<Sequence, number>();
  /** States since the last commit that is on disk; the first is that. */
  #unflushed: Tables[] = [this.tables];
  #waiting: (() => void)[] = [];
  #awayUntilMs = 0;
  /** Commits that go on after their client is gone: each can be given up. */
  readonly #late = new Set<() => void>();
  /** Who waits for which lock. */
  readonly #waitsFor = new Map<Holder, string>();

  constructor(
    readonly name: string,
    readonly clock: Clock,
    readonly random: Random,
    /** Milliseconds that a statement takes, on average. */
    private readonly meanMs: number,
    /** Whether row-level security is on. */
    readonly rowSecurity: boolean,
  ) {}

  /** A pool of connections, as a process has one. `owner` says whose they are. */
  connect(owner: string): SimPool {
    return new SimPool(this, owner);
  }

  /** The next number of a sequence; no transaction gives it back. */
  next = (sequence: Sequence): number => {
    const number = (this.sequences.get(sequence) ?? 0) + 1;
    this.sequences.set(sequence, number);
    return number;
  };

  latencyMs(): number {
    return -Math.log(1 - this.random.next()) * this.meanMs;
  }

  commit(session: Holder, changes: Changes, durable: boolean): void {
    const before = this.tables;
    const after = { ...before } as Record<TableName, ReadonlyMap<unknown, unknown>>;
    for (const [table, rows] of changes) after[table] = apply(before[table] as ReadonlyMap<unknown, unknown>, rows);
    this.tables = after as Tables;
    if (durable) this.#unflushed = [this.tables];
    else this.#unflushed.push(this.tables);
    this.onCommit(session, before, changes);
  }

  /** Commits after a while. Until then all is locked that the session has locked, and nobody knows how it will end. */
  commitLate(session: Holder, changes: Changes, durable: boolean, ms: number): void {
    const end = () => {
      this.#late.delete(end);
      this.locks.release(session, true);
      this.freed();
    };
    this.#late.add(end);
    this.clock.after(ms, () => {
      if (!this.#late.has(end)) return;
      this.commit(session, changes, durable);
      end();
    });
  }

  /** Whether a commit is going on whose client is gone. */
  get committing(): boolean {
    return this.#late.size > 0;
  }

  /** Whether connections are refused. */
  get away(): boolean {
    return this.clock.nowMs < this.#awayUntilMs;
  }

  /** For so long nobody can connect. */
  leave(ms: number): void {
    this.#awayUntilMs = this.clock.nowMs + ms;
  }

  /** The server stops at once and is there again: connections are gone, and perhaps commits that nobody waited for. */
  crash(): void {
    for (const session of [...this.sessions]) session.drop();
    for (const end of [...this.#late]) end();
    const survived = this.random.int(0, this.#unflushed.length - 1);
    if (survived < this.#unflushed.length - 1) this.onEvent("a staged batch is lost with the database");
    const before = this.tables;
    this.tables = this.#unflushed[survived]!;
    this.#unflushed = [this.tables];
    this.onCrash(before, this.tables);
  }

  /** Waits until a lock was let go. @returns what stops waiting. */
  waitForLock(waiter: Holder, name: string, retry: () => void): () => void {
    this.#waiting.push(retry);
    this.#waitsFor.set(waiter, name);
    if (this.#waitsForItself(waiter)) this.onEvent(`FAULT deadlock about ${name}`);
    return () => {
      this.#waitsFor.delete(waiter);
      this.#waiting = this.#waiting.filter((one) => one !== retry);
    };
  }

  #waitsForItself(first: Holder): boolean {
    const seen = new Set<Holder>();
    const follow = (waiter: Holder): boolean => {
      const name = this.#waitsFor.get(waiter);
      if (name === undefined || seen.has(waiter)) return false;
      seen.add(waiter);
      return this.locks.holders(name).some((holder) => holder !== waiter && (holder === first || follow(holder)));
    };
    return follow(first);
  }

  /** Locks were let go: whoever waits looks again. */
  freed(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const retry of waiting) this.clock.after(0, retry);
  }
}

/** The pool of one process. */
export class SimPool {
  #idle: SimSession[] = [];
  readonly #sessions = new Set<SimSession>();
  #dead = false;

  constructor(
    readonly server: SimDatabase,
    readonly owner: string,
  ) {}

  /** What the program is given. @param purpose is told with every commit. */
  handle(purpose: string, scope: Scope = everything): Database {
    const session = <T>(work: (session: Session) => Promise<T>): Promise<T> =>
      this.#use(purpose, scopeName(scope), work);
    return {
      session,
      query: (text, values) => session((s) => s.query(text, values)),
      one: (text, values) => session((s) => s.one(text, values)),
      run: (text, values) => session((s) => s.run(text, values)),
      transaction: (work, options) => session((s) => s.transaction(work, options)),
      as: (other) => this.handle(purpose, other),
      close: async () => this.kill(),
    };
  }

  get database(): Database {
    return this.handle(this.owner);
  }

  /** The process has died: its connections are gone, and its code hears nothing more. */
  kill(): void {
    this.#dead = true;
    for (const session of this.#sessions) session.drop(true);
  }

  /** Advisory locks that this process still holds. */
  get kept(): string[] {
    return this.server.locks.kept
      .filter(({ holder }) => this.#sessions.has(holder as SimSession))
      .map((one) => one.name);
  }

  /** Whether a transaction is open, or a connection is not as it was when it was made. */
  get busy(): boolean {
    return this.#idle.some(
      (session) => session.busy || !session.durable || session.contentKey !== 0 || session.readOnly,
    );
  }

  async #use<T>(purpose: string, scope: string, work: (session: Session) => Promise<T>): Promise<T> {
    if (this.#dead) return new Promise(() => {});
    if (this.server.away) throw translate(new Error("Connection refused"));
    // A connection that breaks while nobody uses it is noticed by the pool.
    this.#idle = this.#idle.filter((one) => !one.dropped);
    const session = this.#idle.pop() ?? new SimSession(this.server);
    this.#sessions.add(session);
    session.scope = scope;
    session.purpose = purpose;
    let broken = false;
    try {
      return await work(session);
    } catch (error) {
      broken = !(error instanceof SandpiperError) || error.code === "storage";
      throw error;
    } finally {
      if (broken || session.dropped) {
        session.drop();
        this.#sessions.delete(session);
      } else this.#idle.push(session);
    }
  }
}

/** One connection. */
export class SimSession implements Session, Holder, Settings {
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
    const copy = new CopyIn((body) =>
      this.#statement({ kind: "copyIn", text, body }, (tx) => copyGrains(tx, text, body)),
    );
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
