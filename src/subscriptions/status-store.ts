/** How far each partner (on a primary) or each primary (on a secondary) has got: everything in one query, however many there are. */
import type { Database, Session } from "../database.ts";
import type { Company } from "./company.ts";

type Queries = Pick<Session | Database, "query">;
type Named = Pick<Company, "id" | "name" | "active">;

/** The newest failure that no success has followed. */
interface LastError {
  errorAt: Date | null;
  /** Outcome, slice and message of the activity. */
  error: string | null;
}

/** What a primary knows of a partner. */
export interface PartnerFacts extends Named, LastError {
  /** Active subscriptions, and those of whose slice the partner holds the present content. */
  slices: number;
  current: number;
  /** When the last of what it holds became current, and when the first of what it lacks became due. */
  currentSince: Date | null;
  behindSince: Date | null;
  /** Last login or report, rehearsals included. */
  lastContact: Date | null;
  /** Last report of a slice that was brought up to date. */
  lastSuccess: Date | null;
}

/** What a secondary knows of its syncs with a primary; rehearsals leave no run. */
export interface PrimaryFacts extends Named, LastError {
  lastRun: Date | null;
  /** When the last run ended, and how; null while it runs, and when it was killed. */
  finishedAt: Date | null;
  exitCode: number | null;
  lastSuccess: Date | null;
}

// As text: what failed, of which slice, and why.
const errorText = `concat_ws(': ', concat_ws(' ', a.outcome, nullif(a.slice_name, '')), nullif(a.message, ''))`;
const others = "c.id <> (SELECT server_id FROM server)";
const failure = "NOT a.test AND a.outcome <> 'updated'";

/**
 * Every partner of this primary, by name. A failure counts as long as its slice was not confirmed since. A slice that is locked defers
 * even those who have it already, which is no failure.
 */
export async function listPartnerFacts(db: Queries): Promise<PartnerFacts[]> {
  return db.query<PartnerFacts>(
    `WITH due AS (
       SELECT u.company_id, s.id AS slice_id, h.confirmed_at, coalesce(h.hash = s.hash AND h.content_count = s.content_count, false) AS held,
         greatest(u.created_at, coalesce(s.content_date, s.created_at)) AS due_at
       FROM subscriptions u JOIN slices s ON s.slice_key = u.slice_key
         LEFT JOIN holdings h ON h.company_id = u.company_id AND h.slice_key = u.slice_key
       WHERE u.active
     ), slices AS (
       SELECT company_id, count(*) AS slices, count(*) FILTER (WHERE held) AS current, min(due_at) FILTER (WHERE NOT held) AS behind_since,
         max(greatest(confirmed_at, due_at)) FILTER (WHERE held) AS current_since
       FROM due GROUP BY company_id
     ), reports AS (
       SELECT company_id, max(created_at) AS last, max(created_at) FILTER (WHERE NOT test AND outcome = 'updated') AS last_success
       FROM activity GROUP BY company_id
     ), keys AS (
       SELECT company_id, max(last_used_at) AS last FROM api_keys GROUP BY company_id
     ), failures AS (
       SELECT DISTINCT ON (a.company_id) a.company_id, a.created_at, ${errorText} AS error
       FROM activity a LEFT JOIN due d ON d.company_id = a.company_id AND d.slice_id = a.slice_id
         LEFT JOIN reports r ON r.company_id = a.company_id
       WHERE ${failure} AND CASE WHEN a.slice_id IS NULL THEN a.created_at > coalesce(r.last_success, '-infinity')
         ELSE a.created_at > coalesce(d.confirmed_at, '-infinity') AND d.slice_id IS NOT NULL AND NOT (d.held AND a.outcome = 'deferred') END
       ORDER BY a.company_id, a.created_at DESC
     )
     SELECT c.id, c.name, c.active, coalesce(s.slices, 0) AS slices, coalesce(s.current, 0) AS current, s.current_since AS "currentSince",
       s.behind_since AS "behindSince", greatest(r.last, k.last) AS "lastContact", r.last_success AS "lastSuccess", f.created_at AS "errorAt", f.error
     FROM companies c LEFT JOIN slices s ON s.company_id = c.id LEFT JOIN reports r ON r.company_id = c.id
       LEFT JOIN keys k ON k.company_id = c.id LEFT JOIN failures f ON f.company_id = c.id WHERE ${others} ORDER BY c.name_key`,
  );
}

/** Every primary of this secondary, by name. */
export async function listPrimaryFacts(db: Queries): Promise<PrimaryFacts[]> {
  return db.query<PrimaryFacts>(
    `WITH newest AS (
       SELECT DISTINCT ON (company_id) company_id, started_at, finished_at, exit_code FROM sync_runs ORDER BY company_id, started_at DESC
     ), good AS (
       SELECT company_id, max(finished_at) AS last FROM sync_runs WHERE exit_code = 0 GROUP BY company_id
     ), failures AS (
       SELECT DISTINCT ON (a.company_id) a.company_id, a.created_at, ${errorText} AS error
       FROM activity a LEFT JOIN good g ON g.company_id = a.company_id
       WHERE ${failure} AND a.created_at > coalesce(g.last, '-infinity') ORDER BY a.company_id, a.created_at DESC
     )
     SELECT c.id, c.name, c.active, n.started_at AS "lastRun", n.finished_at AS "finishedAt", n.exit_code AS "exitCode", g.last AS "lastSuccess",
       f.created_at AS "errorAt", f.error
     FROM companies c LEFT JOIN newest n ON n.company_id = c.id LEFT JOIN good g ON g.company_id = c.id
       LEFT JOIN failures f ON f.company_id = c.id WHERE ${others} ORDER BY c.name_key`,
  );
}
