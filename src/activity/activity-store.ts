/** The log of syncs, on both sides, and on a primary what each partner holds. */
import type { Database, Session } from "../database/database.ts";
import { companyInScope, type Scope, scopeName, scopeValue } from "../database/scope.ts";
import type { CompanyId } from "../ids.ts";
import type { Page } from "../slices/slice-store.ts";

type Queries = Pick<Session | Database, "query" | "one" | "run">;

export interface Activity {
  id: string;
  companyId: CompanyId;
  companyName: string;
  runId: string | null;
  sliceId: string | null;
  sliceName: string;
  subId: string | null;
  /** `sync --noupdate`: nothing was changed. On the wire, and in the table, it is called `test`. */
  rehearsal: boolean;
  /** How the slice fared in the run: "updated", "failed", "deferred", "denied", "would-update", "withdrawn" or "switched-off". */
  outcome: string;
  message: string;
  grainsAdded: number;
  grainsRemoved: number;
  /** Bytes of payload that moved. */
  bytes: number;
  durationMs: number;
  createdAt: Date;
}

export type NewActivity = Omit<Activity, "id" | "companyName" | "createdAt">;

/** Records an activity. A second record of the same run and slice changes nothing: confirmations are repeated until acknowledged. */
export async function addActivity(db: Queries, row: NewActivity): Promise<void> {
  await db.run(
    `/* addActivity */ INSERT INTO activity (company_id, run_id, slice_id, slice_name, sub_id, test, outcome, message, grains_added, grains_removed, bytes, duration_ms)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) ON CONFLICT (company_id, run_id, slice_id) DO NOTHING`,
    [
      row.companyId,
      row.runId,
      row.sliceId,
      row.sliceName,
      row.subId,
      row.rehearsal,
      row.outcome,
      row.message.slice(0, 500).toWellFormed(),
      row.grainsAdded,
      row.grainsRemoved,
      row.bytes,
      row.durationMs,
    ],
  );
}

/** Records that subscriptions were taken away: of slices, and how. */
export async function addLosses(
  tx: Queries,
  companyId: CompanyId,
  runId: string,
  losses: readonly { sliceId: string; sliceName: string; subId: string; outcome: string }[],
): Promise<void> {
  if (losses.length === 0) return;
  await tx.run(
    `/* addLosses */ INSERT INTO activity (company_id, run_id, slice_id, slice_name, sub_id, outcome)
     SELECT $1, $2, * FROM unnest($3::uuid[], $4::text[], $5::uuid[], $6::text[]) ON CONFLICT (company_id, run_id, slice_id) DO NOTHING`,
    [
      companyId,
      runId,
      losses.map(({ sliceId }) => sliceId),
      losses.map(({ sliceName }) => sliceName),
      losses.map(({ subId }) => subId),
      losses.map(({ outcome }) => outcome),
    ],
  );
}

/** Activities that the scope sees, newest first. */
export async function listActivity(
  db: Queries,
  scope: Scope,
  filter: { companyId?: CompanyId } = {},
  page: Page = { limit: 100, offset: 0 },
): Promise<Activity[]> {
  return db.query<Activity>(
    `SELECT a.id, a.company_id AS "companyId", c.name AS "companyName", a.run_id AS "runId", a.slice_id AS "sliceId", a.slice_name AS "sliceName",
       a.sub_id AS "subId", a.test AS rehearsal, a.outcome, a.message, a.grains_added AS "grainsAdded", a.grains_removed AS "grainsRemoved", a.bytes,
       a.duration_ms AS "durationMs", a.created_at AS "createdAt"
     FROM (SELECT id FROM activity a WHERE ${companyInScope(scope, "$1", "a")} AND ($2::uuid IS NULL OR a.company_id = $2)
         ORDER BY a.created_at DESC, a.id LIMIT $3 OFFSET $4) page
       JOIN activity a ON a.id = page.id JOIN companies c ON c.id = a.company_id ORDER BY a.created_at DESC, a.id`,
    [scopeValue(scope), filter.companyId ?? null, page.limit, page.offset],
  );
}

const longAgo = "date_trunc('milliseconds', now() - interval '15 minutes')";
const knownForMs = 3_600_000;

/**
 * How many activities a scope sees, though there may be a million: those of long ago are counted once an hour only. They become
 * fewer by retention alone, which then shows within the hour.
 */
export class ActivityCount {
  readonly #before = new Map<string, { n: number; until: Date; atMs: number }>();

  /** @param nowMs a clock that does not go back. */
  async of(db: Queries, scope: Scope, nowMs = performance.now()): Promise<number> {
    const inScope = companyInScope(scope, "$1", "a");
    let before = this.#before.get(scopeName(scope));
    if (before === undefined || nowMs - before.atMs > knownForMs) {
      const row = await db.one<{ n: number; until: Date }>(
        `SELECT count(*) AS n, ${longAgo} AS until FROM activity a WHERE ${inScope} AND a.created_at < ${longAgo}`,
        [scopeValue(scope)],
      );
      before = { ...row!, atMs: nowMs };
      this.#before.set(scopeName(scope), before);
    }
    const since = await db.one<{ n: number }>(
      `SELECT count(*) AS n FROM activity a WHERE ${inScope} AND a.created_at >= $2`,
      [scopeValue(scope), before.until],
    );
    return before.n + since!.n;
  }
}
