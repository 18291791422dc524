/** What is kept for a time only: the logs of syncs, and confirmations that nobody took. */
import type { Database } from "../database/database.ts";

export interface Forgotten {
  activity: number;
  runs: number;
  confirmations: number;
}

/** Rows of one statement, so that none holds anybody up. */
const batch = 5000;

const old = (column: string) => `${column} < now() - $1::integer * interval '1 day'`;

/** `company list --status` shows the last success however long ago it was, and of runs the last one: those stay. */
const statements: Record<keyof Forgotten, string> = {
  activity: `DELETE FROM activity WHERE id IN (SELECT a.id FROM activity a WHERE ${old("a.created_at")}
      AND (a.test OR a.outcome <> 'updated' OR EXISTS (SELECT 1 FROM activity later WHERE later.company_id = a.company_id
        AND NOT later.test AND later.outcome = 'updated' AND later.created_at > a.created_at))
      ORDER BY a.created_at LIMIT ${batch})`,
  runs: `DELETE FROM sync_runs WHERE id IN (SELECT r.id FROM sync_runs r WHERE ${old("r.started_at")}
      AND EXISTS (SELECT 1 FROM sync_runs later WHERE later.company_id = r.company_id AND later.started_at > r.started_at)
      AND (r.exit_code IS DISTINCT FROM 0 OR EXISTS (SELECT 1 FROM sync_runs later WHERE later.company_id = r.company_id
        AND later.exit_code = 0 AND later.finished_at > r.finished_at))
      ORDER BY r.started_at LIMIT ${batch})`,
  // What is held is said again by every comparison.
  confirmations: `DELETE FROM outbox WHERE id IN (SELECT id FROM outbox WHERE ${old("created_at")} ORDER BY id LIMIT ${batch})`,
};

/** Deletes what is older than `days`, some thousand rows at a time. @param limitMs begins nothing more after this time. */
export async function forgetOld(
  db: Pick<Database, "run">,
  days: number,
  options: { limitMs: number; signal?: AbortSignal | undefined },
): Promise<Forgotten> {
  const begunMs = performance.now();
  const forgotten: Forgotten = { activity: 0, runs: 0, confirmations: 0 };
  for (const name of Object.keys(statements) as (keyof Forgotten)[]) {
    for (let n = batch; n === batch; forgotten[name] += n) {
      if (options.signal?.aborted || performance.now() - begunMs > options.limitMs) return forgotten;
      n = await db.run(statements[name], [days]);
    }
  }
  return forgotten;
}
