/** Confirmations of a secondary. A confirmation is written with the slice it is about, and forgotten when the primary has acknowledged it. */
import type { Database, Session } from "../../database/database.ts";
import type { CompanyId } from "../../ids.ts";
import type { Confirm } from "../protocol/messages.ts";

type Queries = Pick<Session | Database, "query" | "one" | "run">;

/** Confirmations for this primary that were not acknowledged, oldest first, at most 1,000. */
export async function readOutbox(db: Queries, companyId: CompanyId): Promise<Confirm[]> {
  const rows = await db.query<{ body: Confirm }>(
    "/* readOutbox */ SELECT body FROM outbox WHERE company_id = $1 ORDER BY id LIMIT 1000",
    [companyId],
  );
  return rows.map((row) => row.body);
}

/** Forgets confirmations that the primary has acknowledged: [run, slice] each. */
export async function settleOutbox(
  db: Queries,
  companyId: CompanyId,
  settled: readonly (readonly [runId: string, sliceId: string])[],
): Promise<void> {
  await db.run(
    `/* settleOutbox */ DELETE FROM outbox o USING unnest($2::uuid[], $3::uuid[]) AS settled (run_id, slice_id)
     WHERE o.company_id = $1 AND o.run_id = settled.run_id AND o.slice_id = settled.slice_id`,
    [companyId, settled.map(([runId]) => runId), settled.map(([, sliceId]) => sliceId)],
  );
}

/** Whether the slice of this run was committed: the answer when a commit's own answer got lost. Waits for the slice's row. */
export async function wasCommitted(
  tx: Session,
  companyId: CompanyId,
  runId: string,
  sliceId: string,
): Promise<boolean> {
  await tx.run("/* wasCommittedSlice */ SELECT 1 FROM slices WHERE company_id = $1 AND id = $2 FOR UPDATE", [
    companyId,
    sliceId,
  ]);
  return (
    (await tx.one("/* wasCommitted */ SELECT 1 FROM outbox WHERE company_id = $1 AND run_id = $2 AND slice_id = $3", [
      companyId,
      runId,
      sliceId,
    ])) !== undefined
  );
}
