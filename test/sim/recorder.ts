/** Records what the sessions of a simulated database do, in traces that begin when nobody is in the middle of something. */
import pg from "pg";
import { translate } from "../../src/database/database-errors.ts";
import { SandpiperError } from "../../src/errors.ts";
import {
  type Operation,
  type Outcome,
  packed,
  type Step,
  type Told,
  type Trace,
  tellError,
  tellRows,
} from "./operation.ts";
import type { Connected, SimDatabase } from "./sim-database.ts";
import { companyRows, rowsOf } from "./table-rows.ts";
import type { Holder, Tables } from "./tables.ts";

/** Steps of a trace, and the fewest that are worth one. */
const mostSteps = 40;
const fewestSteps = 8;

/** Errors that the world causes: a trace ends before them. */
const faults = new Set(["55P03", "53100"]);

/** Advisory locks, which are given to those who wait one after another. */
const inTurn = /^(names|stage|sync)\b/;

export class Recorder {
  readonly traces: Trace[] = [];
  #trace: Trace | undefined;
  /** Numbers of those sessions that are not as new. */
  readonly #numbers = new Map<Connected, number>();
  /** Who waits, and for which lock. */
  readonly #blocked = new Map<Connected, string>();

  constructor(
    private readonly db: SimDatabase,
    private readonly name: string,
  ) {
    const { onCommit } = db;
    db.onCommit = (session, before, changes) => {
      if (session.purpose === "operator" && !db.sessions.has(session as Connected)) this.#written(session, before);
      onCommit(session, before, changes);
    };
    db.onOperation = (session, operation, outcome) => {
      this.#note(session, operation, outcome);
      if (this.#trace === undefined && this.#numbers.size === 0 && this.#blocked.size === 0 && !db.committing)
        this.#begin();
    };
    this.#begin();
  }

  /** No more is recorded. */
  end(): void {
    this.#end(this.db.tables);
    this.db.onOperation = () => {};
  }

  #begin(): void {
    const { tables, sequences } = this.db;
    this.#trace = {
      name: `${this.name}, trace ${this.traces.length}`,
      initial: rowsOf(tables),
      sequences: Object.fromEntries(sequences),
      steps: [],
      final: rowsOf(tables),
    };
  }

  #end(tables: Tables): void {
    const trace = this.#trace;
    this.#trace = undefined;
    if (trace === undefined || trace.steps.length < fewestSteps) return;
    trace.final = rowsOf(tables);
    this.traces.push(trace);
  }

  #note(session: Connected, operation: Operation, outcome: Outcome): void {
    if (operation.kind === "drop") {
      if (this.#numbers.has(session)) this.#add(session, operation, { done: true });
      this.#blocked.delete(session);
      this.#numbers.delete(session);
      return;
    }
    const resumed = this.#blocked.has(session);
    if (outcome.blocked !== undefined) {
      // Which of two that wait for rows goes on first is not settled: a real database does not keep to their order.
      const others = [...this.#blocked].some(([other, name]) => other !== session && !inTurn.test(name));
      if (inTurn.test(outcome.blocked) || !others) {
        if (!resumed) this.#add(session, operation, undefined);
      } else this.#end(this.db.tables);
      this.#blocked.set(session, outcome.blocked);
      return;
    }
    // The simulation has no use for some statements, and goes on without an answer.
    if (/does not know/.test((outcome.error as Error | undefined)?.message ?? "")) return;
    if (outcome.error !== undefined && isFault(outcome.error)) this.#end(this.db.tables);
    else this.#add(session, operation, tell(operation, outcome), resumed);
    this.#blocked.delete(session);
    if (this.#asNew(session)) this.#numbers.delete(session);
    // Whoever waits may be free to go on by now, and in a real database has done so.
    if ((this.#trace?.steps.length ?? 0) >= mostSteps && this.#blocked.size === 0) this.#end(this.db.tables);
  }

  #add(session: Connected, operation: Operation, told: Told | undefined, resumed = false): void {
    let number = this.#numbers.get(session);
    if (number === undefined) {
      const taken = new Set(this.#numbers.values());
      number = 0;
      while (taken.has(number)) number++;
      this.#numbers.set(session, number);
    }
    const carried = packed(operation) as Step["operation"];
    this.#trace?.steps.push({ session: number, scope: session.scope, operation: carried, told, resumed });
  }

  /** Somebody has changed companies without a session. */
  #written(session: Holder, before: Tables): void {
    const { locks, tables } = this.db;
    // Unless somebody holds one, and a real database would make him wait.
    const free = [...tables.companies.keys()].every((id) => locks.try(`companies ${id}`, session, "no-key-update"));
    locks.release(session);
    if (!free) this.#end(before);
    const operation = { kind: "companies" as const, rows: companyRows(tables) };
    this.#trace?.steps.push({ session: -1, scope: "all", operation, told: { done: true }, resumed: false });
  }

  /** Whether it is as a pool hands it out. */
  #asNew(session: Connected): boolean {
    const { busy, durable, contentKey, readOnly } = session;
    const keeps = this.db.locks.kept.some(({ holder }) => holder === session);
    return !busy && durable && contentKey === 0 && !readOnly && !keeps;
  }
}

function isFault(error: unknown): boolean {
  const cause = error instanceof SandpiperError ? error.cause : error;
  return cause instanceof pg.DatabaseError && faults.has(cause.code ?? "");
}

function tell(operation: Operation, { result, error }: Outcome): Told {
  if (error !== undefined) return tellError(translate(error));
  if (operation.kind === "query") return tellRows(operation.text, (result as { rows: object[] }).rows);
  if (operation.kind === "run") {
    const { rows, count } = result as { rows: object[]; count?: number };
    return { count: count ?? rows.length };
  }
  return operation.kind === "copyOut" ? { hex: (result as Buffer).toString("hex") } : { done: true };
}
