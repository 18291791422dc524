/**
 * A database in memory with what the program relies on in PostgreSQL: transactions that see what is committed, or one snapshot; row
 * locks and advisory locks, with a time limit; commits that are on disk or, with synchronous_commit off, not yet; row-level security.
 * It knows the program's statements (statements.ts), and is held to the real one by conformance.test.ts.
 */
import type { Random } from "../harness/random.ts";
import type { Clock } from "./clock.ts";
import type { Settings } from "./handler.ts";
import { Locks } from "./locks.ts";
import type { Operation, Outcome } from "./operation.ts";
import {
  apply,
  type Changes,
  type Faults,
  type Holder,
  noTables,
  type Sequence,
  type TableName,
  type Tables,
} from "./tables.ts";

/** One of its connections. */
export interface Connected extends Holder, Settings {
  readonly dropped: boolean;
  /** Whether a transaction is open. */
  readonly busy: boolean;
  /** The server ends it. */
  drop(): void;
}

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
  onOperation: (session: Connected, operation: Operation, outcome: Outcome) => void = () => {};
  readonly sessions = new Set<Connected>();
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
