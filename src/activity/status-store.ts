/** How far each partner (on a primary) or each primary (on a secondary) has got: everything in one query, however many there are. */

import type { Database, Session } from "../database/database.ts";
import type { PartnerFacts, PrimaryFacts } from "./rules/status.ts";

type Queries = Pick<Session | Database, "query">;

// As text: what failed, of which slice, and why.
const errorText = `concat_ws(': ', concat_ws(' ', a.outcome, nullif(a.slice_name, '')), nullif(a.message, ''))`;
const others = "c.id <> (SELECT server_id FROM server)";
const failure = "NOT a.test AND a.outcome <> 'updated'";
const success = "NOT a.test AND a.outcome = 'updated'";

/**
 * The newest activity of a company that meets a condition: one look into an index, however long the log is (0005-kept-for-a-time.sql).
 * Times that may be missing are compared by `greatest`: behind row-level security an index is not searched by `coalesce`.
 */
const newest = (columns: string, company: string, condition: string) =>
  `LATERAL (SELECT ${columns} FROM activity a WHERE a.company_id = ${company} AND ${condition} ORDER BY a.created_at DESC LIMIT 1)`;

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
     ), keys AS (
       SELECT company_id, max(last_used_at) AS last FROM api_keys GROUP BY company_id
     ), of_slices AS (
       SELECT DISTINCT ON (d.company_id) d.company_id, f.created_at, f.error
       FROM due d CROSS JOIN ${newest(
         `a.created_at, ${errorText} AS error`,
         "d.company_id",
         `a.slice_id = d.slice_id AND ${failure} AND a.created_at > greatest(d.confirmed_at, '-infinity') AND NOT (d.held AND a.outcome = 'deferred')`,
       )} f ORDER BY d.company_id, f.created_at DESC
     )
     SELECT c.id, c.name, c.active, coalesce(s.slices, 0) AS slices, coalesce(s.current, 0) AS current, s.current_since AS "currentSince",
       s.behind_since AS "behindSince", greatest(r.last, k.last) AS "lastContact", g.last AS "lastSuccess",
       greatest(f.created_at, o.created_at) AS "errorAt", CASE WHEN o.created_at > f.created_at THEN o.error ELSE coalesce(f.error, o.error) END AS error
     FROM companies c LEFT JOIN slices s ON s.company_id = c.id LEFT JOIN keys k ON k.company_id = c.id
       LEFT JOIN ${newest("a.created_at AS last", "c.id", "true")} r ON true
       LEFT JOIN ${newest("a.created_at AS last", "c.id", success)} g ON true
       LEFT JOIN of_slices f ON f.company_id = c.id
       LEFT JOIN ${newest(
         `a.created_at, ${errorText} AS error`,
         "c.id",
         `a.slice_id IS NULL AND ${failure} AND a.created_at > greatest(g.last, '-infinity')`,
       )} o ON true
     WHERE ${others} ORDER BY c.name_key`,
  );
}

/** Every primary of this secondary, by name. */
export async function listPrimaryFacts(db: Queries): Promise<PrimaryFacts[]> {
  return db.query<PrimaryFacts>(
    `SELECT c.id, c.name, c.active, n.started_at AS "lastRun", n.finished_at AS "finishedAt", n.exit_code AS "exitCode", g.last AS "lastSuccess",
       f.created_at AS "errorAt", f.error
     FROM companies c
       LEFT JOIN LATERAL (SELECT started_at, finished_at, exit_code FROM sync_runs WHERE company_id = c.id ORDER BY started_at DESC LIMIT 1) n ON true
       LEFT JOIN LATERAL (SELECT max(finished_at) AS last FROM sync_runs WHERE company_id = c.id AND exit_code = 0) g ON true
       LEFT JOIN ${newest(
         `a.created_at, ${errorText} AS error`,
         "c.id",
         `${failure} AND a.created_at > greatest(g.last, '-infinity')`,
       )} f ON true
     WHERE ${others} ORDER BY c.name_key`,
  );
}
