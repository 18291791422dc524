/** Runs of a secondary, as they are written down: when one began and ended, and how. A rehearsal leaves nothing. */
import type { Database, Session } from "../database/database.ts";
import type { CompanyId } from "../ids.ts";

type Queries = Pick<Session | Database, "one" | "run">;

/** What is written down of a run with one primary. */
export interface RunRecord {
  id: string;
  companyId: CompanyId;
  startedAt: Date;
  finishedAt: Date | null;
  exitCode: number | null;
  summary: unknown;
}

/** Writes a run down before it begins, so that it can be asked after. */
export async function announceRun(db: Queries, runId: string, companyId: CompanyId): Promise<void> {
  await db.run("/* announceRun */ INSERT INTO sync_runs (id, company_id) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING", [
    runId,
    companyId,
  ]);
}

/** Writes down that a run has begun. The caller holds the pair's lock: whatever else was not finished has died. */
export async function startRun(db: Queries, runId: string, companyId: CompanyId): Promise<void> {
  await db.run(
    "/* startRun */ UPDATE sync_runs SET finished_at = now(), exit_code = 1, summary = '{\"lost\": true}' WHERE company_id = $1 AND finished_at IS NULL AND id <> $2",
    [companyId, runId],
  );
  await announceRun(db, runId, companyId);
}

/** Writes down how a run ended. @param summary totals, as they are shown. */
export async function finishRun(db: Queries, runId: string, exitCode: number, summary: unknown): Promise<void> {
  await db.run("/* finishRun */ UPDATE sync_runs SET finished_at = now(), exit_code = $2, summary = $3 WHERE id = $1", [
    runId,
    exitCode,
    JSON.stringify(summary),
  ]);
}

export async function findRun(db: Queries, runId: string): Promise<RunRecord | undefined> {
  return db.one<RunRecord>(
    `SELECT id, company_id AS "companyId", started_at AS "startedAt", finished_at AS "finishedAt", exit_code AS "exitCode", summary FROM sync_runs WHERE id = $1`,
    [runId],
  );
}
