/** Cleans up behind the program in the database: what a PostgreSQL that always runs has its autovacuum for, and one that runs for the seconds of a command has not. */
import type { Database } from "../database.ts";
import { asSandpiperError } from "../errors.ts";
import { step } from "../step.ts";
import { listTables, type Table, tableBytes, vacuum } from "./vacuum-store.ts";

export interface Tidied {
  table: string;
  bytesBefore: number;
  bytesAfter: number;
  ms: number;
}

/**
 * Vacuums and analyzes the tables that are due, for `limitMs` at most. What fails, or is not done by then, is left to the next time.
 *
 * @param db opened as `owner`.
 */
export async function tidyWhatChanged(
  db: Database,
  options: { limitMs: number; signal?: AbortSignal | undefined },
): Promise<Tidied[]> {
  if (options.signal?.aborted) return [];
  const untilMs = performance.now() + options.limitMs;
  const done: Tidied[] = [];
  const due = (await listTables(db)).filter((table) => table.due && table.may);
  for (const table of due) {
    const leftMs = untilMs - performance.now();
    if (options.signal?.aborted || leftMs < 1) break;
    const tidied = await tidyTable(db, table, { full: false, limitMs: leftMs, signal: options.signal }).catch(
      (error) => {
        if (asSandpiperError(error).code !== "storage") throw error;
      },
    );
    if (tidied !== undefined) done.push(tidied);
  }
  return done;
}

/** Vacuums and analyzes one table. @throws `storage` when it does not come to an end. */
export function tidyTable(
  db: Database,
  table: Table,
  options: { full: boolean; limitMs: number; signal?: AbortSignal | undefined },
): Promise<Tidied> {
  return db.session(async (session) => {
    const stop = () => session.destroy();
    options.signal?.addEventListener("abort", stop, { once: true });
    const begunMs = performance.now();
    try {
      step("m.vacuum");
      await vacuum(session, table, options);
      step("m.vacuumed");
      const bytesAfter = await tableBytes(session, table.name);
      return { table: table.name, bytesBefore: table.bytes, bytesAfter, ms: Math.round(performance.now() - begunMs) };
    } finally {
      options.signal?.removeEventListener("abort", stop);
    }
  });
}
