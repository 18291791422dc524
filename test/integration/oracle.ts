/** What a database holds, for whoever must find it as it was, or as another one is. */
import type { Database } from "../../src/database/database.ts";

/** Everything that counts of the slices of a database, or of one company there, by id: what two parties must agree on. */
export async function sliceContents(db: Database, companyId: string | null = null): Promise<Record<string, unknown>> {
  const rows = await db.query<{ id: string; hash: string; n: number; digest: string | null; metadata: unknown }>(
    `SELECT s.id, s.hash, s.content_count AS n,
       (SELECT encode(sha256(string_agg(g.id::text::bytea || g.digest || sha256(coalesce(g.payload, ''::bytea)), ''::bytea ORDER BY g.id)), 'hex') FROM grains g WHERE g.content_key = s.content_key)
         || coalesce((SELECT encode(sha256(string_agg(c.grain_id::text::bytea || sha256(c.data), ''::bytea ORDER BY c.grain_id, c.seq)), 'hex') FROM grain_chunks c WHERE c.content_key = s.content_key), '') AS digest,
       (SELECT jsonb_object_agg(key, value) FROM slice_metadata m WHERE m.slice_key = s.slice_key) AS metadata
     FROM slices s WHERE $1::uuid IS NULL OR s.company_id = $1 ORDER BY s.id`,
    [companyId],
  );
  return Object.fromEntries(rows.map(({ id, ...rest }) => [id, rest]));
}

/** Locks that are still held in a database. A process that was killed is noticed by its server within a moment. */
export async function heldLocks(db: Database, withinMs = 5000): Promise<number> {
  const deadline = performance.now() + withinMs;
  for (;;) {
    const row = await db.one<{ n: number }>(
      `SELECT count(*) AS n FROM pg_locks WHERE locktype = 'advisory'
         AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`,
    );
    if (row!.n === 0 || performance.now() > deadline) return row!.n;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
