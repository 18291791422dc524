/** What PostgreSQL needs done to tables whose rows have changed: VACUUM, so that their space is used again, and ANALYZE. */
import type { Database, Session } from "./database-sessions.ts";
import { asEver } from "./session-settings.ts";

export interface Table {
  /** Quoted, with its schema. */
  name: string;
  /** Of the table with its indexes and long values. */
  bytes: number;
  /** Whether it is one of the program's, not of PostgreSQL itself. */
  ours: boolean;
  /** Whether this login may: its owner, that of the database, or who has MAINTAIN on it. */
  may: boolean;
  /** Whether so much of it has changed that it is worth the while. */
  due: boolean;
  /** What to analyze: the table, or the one that it is a partition of. */
  analyze: string;
}

/** Whether it matters: at once, or only if nobody else has the table; or the table is written anew, which keeps everybody out of it. */
export type How = "now" | "in passing" | "anew";

const options: Record<How, string> = {
  // By one process: several would share memory, of which containers have little.
  now: "PARALLEL 0",
  "in passing": "PARALLEL 0, SKIP_LOCKED",
  anew: "FULL",
};

/**
 * The tables of the program and of PostgreSQL itself, first those with the most dead rows. One is due when a fifth of its rows are
 * dead or have changed, or of the pieces of its long values, and 50 at least; or when nothing is known of it, as after a crash.
 */
export async function listTables(db: Pick<Database, "query">): Promise<Table[]> {
  return db.query<Table>(
    `SELECT format('%I.%I', n.nspname, c.relname) AS name, pg_total_relation_size(c.oid) AS bytes, n.nspname = 'public' AS ours,
       pg_has_role(c.relowner, 'USAGE') OR pg_has_role(d.datdba, 'USAGE')
         OR CASE WHEN current_setting('server_version_num')::int >= 170000 THEN has_table_privilege(c.oid, 'MAINTAIN') ELSE false END AS may,
       greatest(s.n_dead_tup, s.n_mod_since_analyze) >= greatest(50, s.n_live_tup / 5)
         OR coalesce(l.n_dead_tup >= greatest(50, l.n_live_tup / 5), false)
         OR coalesce(s.last_vacuum, s.last_autovacuum, s.last_analyze, s.last_autoanalyze) IS NULL AND pg_relation_size(c.oid) > 1048576 AS due,
       coalesce((SELECT format('%I.%I', pn.nspname, p.relname) FROM pg_inherits i JOIN pg_class p ON p.oid = i.inhparent
         JOIN pg_namespace pn ON pn.oid = p.relnamespace WHERE i.inhrelid = c.oid), format('%I.%I', n.nspname, c.relname)) AS analyze
     FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_database d ON d.datname = current_database()
       JOIN pg_stat_all_tables s ON s.relid = c.oid LEFT JOIN pg_stat_all_tables l ON l.relid = c.reltoastrelid
     WHERE c.relkind = 'r' AND n.nspname IN ('public', 'pg_catalog') AND NOT c.relisshared
     ORDER BY s.n_dead_tup + coalesce(l.n_dead_tup, 0) DESC, 1`,
  );
}

/** Makes the space of grains that were deleted usable again, and nothing besides: it is done when a disk is full. */
export const vacuumGrains = "VACUUM grain_rows, grain_chunks";

/** Pages that are kept for VACUUM: some hundred KB (0012-spare-room.sql). */
const fillSpareRoom = "INSERT INTO spare_room SELECT gen_random_uuid() FROM generate_series(1, 12000)";

/** The same on a disk that has not a page left: VACUUM needs some, which are kept for it. @throws `storage` when it fails all the same. */
export async function vacuumOnFullDisk(session: Session): Promise<void> {
  await session.run("TRUNCATE spare_room");
  try {
    await session.run(vacuumGrains);
  } finally {
    // Where it has given nothing back, what it took are its maps, which are there for the next time.
    await session.run(fillSpareRoom).catch(() => {});
  }
}

/** Keeps the room again that a full disk may have taken. */
export async function keepSpareRoom(session: Session): Promise<void> {
  await session.run("TRUNCATE spare_room");
  await session.run(fillSpareRoom);
}

/** @param limitMs when PostgreSQL gives it up; 0: never. */
export async function vacuum(session: Session, table: Table, how: How, limitMs: number): Promise<void> {
  await session.run(`SET statement_timeout = ${Math.round(limitMs)}`);
  await session.run(`VACUUM (${options[how]}) ${table.name}`);
  await session.run(`ANALYZE (SKIP_LOCKED ${how === "in passing"}) ${table.analyze}`);
  await session.run(asEver("statement_timeout"));
}

/** Bytes of a table with its indexes and long values. */
export async function tableBytes(session: Session, name: string): Promise<number> {
  return (await session.one<{ bytes: number }>("SELECT pg_total_relation_size($1::regclass) AS bytes", [name]))!.bytes;
}
