/** Sessions of a real database that are kept open, by number. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Database, Session, TransactionOptions } from "../../src/database/database.ts";
import { asEver } from "../../src/database/session-settings.ts";
import type { Told } from "./operation.ts";

/** Whatever a trace may have left in a session. */
const asNew = `SELECT pg_advisory_unlock_all(); RESET sandpiper.content_key; ${asEver("synchronous_commit", "default_transaction_read_only")}`;

const rolledBack = new Error("rolled back");

export class RealSession {
  /** What was asked of it last, until somebody looks at the answer. */
  waiting: { over: boolean; answer: Promise<Told> } | undefined;
  scope = "";
  #transaction: { end: (commit: boolean) => void; done: Promise<void> } | undefined;

  constructor(
    readonly session: Session,
    /** Gives it back to its pool. */
    readonly release: (broken: boolean) => void,
  ) {}

  /** Begins the program's own kind of transaction, which goes on until {@link end}. */
  async begin(options: TransactionOptions): Promise<void> {
    let done: Promise<void> = Promise.resolve();
    await new Promise<void>((resolve, reject) => {
      done = this.session.transaction(
        () =>
          new Promise<void>((commit, rollback) => {
            this.#transaction = { end: (well) => (well ? commit() : rollback(rolledBack)), done };
            resolve();
          }),
        options,
      );
      done.catch(reject);
    });
    this.#transaction!.done = done;
  }

  async end(commit: boolean): Promise<void> {
    const transaction = this.#transaction;
    if (transaction === undefined) return; // it failed as it was to be committed
    this.#transaction = undefined;
    transaction.end(commit);
    await transaction.done.catch((error) => {
      if (error !== rolledBack) throw error;
    });
  }
}

export class RealSessions {
  readonly #sessions = new Map<number, RealSession>();

  constructor(
    private readonly db: Database,
    private readonly owner: Database,
  ) {}

  get all(): RealSession[] {
    return [...this.#sessions.values()];
  }

  async get(number: number, scope: string): Promise<RealSession> {
    let session = this.#sessions.get(number);
    if (session === undefined) {
      session = await this.#open();
      this.#sessions.set(number, session);
    }
    if (session.scope !== scope) {
      // As Database.as: a pool does it for whoever has the session next.
      await session.session.run("SELECT set_config('sandpiper.scope', $1, false)", [scope]);
      session.scope = scope;
    }
    return session;
  }

  /** Whether it comes to wait for a lock, rather than to an end. */
  async waits({ session, waiting }: RealSession, patienceMs: number): Promise<boolean> {
    const asked = "SELECT 1 FROM pg_locks WHERE pid = $1 AND NOT granted";
    for (const end = performance.now() + patienceMs; !waiting?.over && performance.now() < end; await sleep(1))
      if ((await this.owner.one(asked, [session.backendPid])) !== undefined) return true;
    return false;
  }

  /** Its connection ends, whatever it does. */
  async drop(number: number): Promise<void> {
    const session = this.#sessions.get(number);
    if (session === undefined) return;
    this.#sessions.delete(number);
    const pid = [session.session.backendPid];
    await this.owner.run("SELECT pg_terminate_backend($1)", pid);
    // Its locks are gone before it is.
    while ((await this.owner.one("SELECT 1 FROM pg_stat_activity WHERE pid = $1", pid)) !== undefined) await sleep(1);
    await session.end(false).catch(() => {});
    session.release(true);
  }

  /** Makes all of them as new. */
  async reset(): Promise<void> {
    for (const [number, session] of [...this.#sessions]) if (session.waiting !== undefined) await this.drop(number);
    for (const session of this.all) {
      await session.end(false);
      await session.session.run(asNew);
    }
  }

  async close(): Promise<void> {
    await this.reset();
    for (const session of this.all) session.release(false);
    this.#sessions.clear();
  }

  #open(): Promise<RealSession> {
    return new Promise((resolve, reject) => {
      this.db
        .session(
          (session) =>
            new Promise<void>((released, broken) => {
              resolve(new RealSession(session, (bad) => (bad ? broken(new Error("dropped")) : released())));
            }),
        )
        .catch(reject); // that of a session that was dropped comes to nothing
    });
  }
}
