/** The connections that a process of the simulation has to its database, as the program is given them. */
import type { Database, Session } from "../../src/database/database.ts";
import { translate } from "../../src/database/database-errors.ts";
import { everything, type Scope, scopeName } from "../../src/database/scope.ts";
import { SandpiperError } from "../../src/errors.ts";
import type { SimDatabase } from "./sim-database.ts";
import { SimSession } from "./sim-session.ts";

/** The pool of one process; `owner` says whose it is. */
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
