/**
 * Cleans up behind the program in the database. A PostgreSQL that always runs has its autovacuum for that; the embedded one may run
 * for the seconds of a command only. It connects as the owner of the tables, or as whoever may do this.
 */

import { asSandpiperError, SandpiperError } from "../errors.ts";
import { step } from "../step.ts";
import type { Database } from "./database.ts";
import { type How, keepSpareRoom, listTables, type Table, tableBytes, vacuum } from "./vacuum-store.ts";

export interface Tidied {
  table: string;
  bytesBefore: number;
  bytesAfter: number;
  ms: number;
}

/** Vacuums and analyzes the tables that are due, for `limitMs` at most. What fails, or is not done by then, is left to the next time. */
export async function tidyWhatChanged(
  db: Database,
  { limitMs, signal }: { limitMs: number; signal: AbortSignal },
): Promise<Tidied[]> {
  if (signal.aborted) return [];
  const untilMs = performance.now() + limitMs;
  const done: Tidied[] = [];
  for (const table of (await listTables(db)).filter(({ due, may }) => due && may)) {
    const leftMs = untilMs - performance.now();
    if (leftMs < 1) break;
    try {
      done.push(await tidy(db, table, "in passing", leftMs, signal));
    } catch (error) {
      if (asSandpiperError(error).code !== "storage") throw error;
    }
  }
  return done;
}

/**
 * Vacuums and analyzes all tables of the program, and those of PostgreSQL that are due.
 *
 * @param full writes the program's tables anew, without a gap.
 * @returns with `left`: those that this login may not.
 * @throws `storage` when somebody else has a table, `config` with `full` when this login may not.
 */
export async function tidyEverything(
  db: Database,
  { full, signal }: { full: boolean; signal: AbortSignal },
): Promise<{ tidied: Tidied[]; left: string[] }> {
  const tables = (await listTables(db)).filter(({ ours, due }) => ours || due);
  const left = tables.filter(({ ours, may }) => ours && !may).map(({ name }) => name);
  if (full && left.length > 0) {
    throw new SandpiperError("config", `this login of the database may not vacuum ${left[0]}`, {
      hint: "Run it with the owner's login in SANDPIPER_DATABASE_URL.",
    });
  }
  const tidied: Tidied[] = [];
  for (const table of tables.filter(({ may }) => may))
    tidied.push(await tidy(db, table, full && table.ours ? "anew" : "now", 0, signal));
  await db.session(keepSpareRoom);
  return { tidied, left };
}

/** @throws the signal's reason once it is aborted. */
function tidy(db: Database, table: Table, how: How, limitMs: number, signal: AbortSignal): Promise<Tidied> {
  return db.session(async (session) => {
    signal.throwIfAborted();
    const stop = () => session.destroy();
    signal.addEventListener("abort", stop, { once: true });
    const begunMs = performance.now();
    try {
      step("m.vacuum");
      await vacuum(session, table, how, limitMs);
      step("m.vacuumed");
      const bytesAfter = await tableBytes(session, table.name);
      return { table: table.name, bytesBefore: table.bytes, bytesAfter, ms: Math.round(performance.now() - begunMs) };
    } catch (error) {
      signal.throwIfAborted();
      throw error;
    } finally {
      signal.removeEventListener("abort", stop);
    }
  });
}
