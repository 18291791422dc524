/** Runs and confirmations of a secondary. A confirmation is written with the slice it is about, and forgotten when the primary has acknowledged it. */
import type { Database, Session } from "../database.ts";
import type { CompanyId } from "../slices/slice.ts";
import type { Confirm } from "./messages.ts";

type Queries = Pick<Session | Database, "query" | "one" | "run">;

export async function addToOutbox(tx: Queries, companyId: CompanyId, confirm: Confirm): Promise<void> {
  await tx.run("INSERT INTO outbox (company_id, run_id, slice_id, body) VALUES ($1, $2, $3, $4)", [
    companyId,
    confirm.run_id,
    confirm.id,
    JSON.stringify(confirm),
  ]);
}

/** Confirmations for this primary that were not acknowledged, oldest first, at most 1,000. */
export async function readOutbox(db: Queries, companyId: CompanyId): Promise<Confirm[]> {
  const rows = await db.query<{ body: Confirm }>(
    "SELECT body FROM outbox WHERE company_id = $1 ORDER BY id LIMIT 1000",
    [companyId],
  );
  return rows.map((row) => row.body);
}

export async function settleOutbox(db: Queries, companyId: CompanyId, runId: string, sliceId: string): Promise<void> {
  await db.run("DELETE FROM outbox WHERE company_id = $1 AND run_id = $2 AND slice_id = $3", [
    companyId,
    runId,
    sliceId,
  ]);
}

/** Whether the slice of this run was committed: the answer when a commit's own answer got lost. Waits for the slice's row. */
export async function wasCommitted(
  tx: Session,
  companyId: CompanyId,
  runId: string,
  sliceId: string,
): Promise<boolean> {
  await tx.run("SELECT 1 FROM slices WHERE company_id = $1 AND id = $2 FOR UPDATE", [companyId, sliceId]);
  return (
    (await tx.one("SELECT 1 FROM outbox WHERE company_id = $1 AND run_id = $2 AND slice_id = $3", [
      companyId,
      runId,
      sliceId,
    ])) !== undefined
  );
}

export interface SyncRun {
  id: string;
  companyId: CompanyId;
  startedAt: Date;
  finishedAt: Date | null;
  exitCode: number | null;
  summary: unknown;
}

/** Writes a run down before it begins, so that it can be asked after. */
export async function announceRun(db: Queries, runId: string, companyId: CompanyId): Promise<void> {
  await db.run("INSERT INTO sync_runs (id, company_id) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING", [
    runId,
    companyId,
  ]);
}

/** Writes down that a run has begun. The caller holds the pair's lock: whatever else was not finished has died. */
export async function startRun(db: Queries, runId: string, companyId: CompanyId): Promise<void> {
  await db.run(
    "UPDATE sync_runs SET finished_at = now(), exit_code = 1, summary = '{\"lost\": true}' WHERE company_id = $1 AND finished_at IS NULL AND id <> $2",
    [companyId, runId],
  );
  await announceRun(db, runId, companyId);
}

export async function finishRun(db: Queries, runId: string, exitCode: number, summary: unknown): Promise<void> {
  await db.run("UPDATE sync_runs SET finished_at = now(), exit_code = $2, summary = $3 WHERE id = $1", [
    runId,
    exitCode,
    JSON.stringify(summary),
  ]);
}

export async function findRun(db: Queries, runId: string): Promise<SyncRun | undefined> {
  return db.one<SyncRun>(
    `SELECT id, company_id AS "companyId", started_at AS "startedAt", finished_at AS "finishedAt", exit_code AS "exitCode", summary FROM sync_runs WHERE id = $1`,
    [runId],
  );
}
