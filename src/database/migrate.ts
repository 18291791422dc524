/** Forward-only migrations: numbered `.sql` files, each with its row in the ledger `schema_migrations`. */

import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { SandpiperError } from "../errors.ts";
import { programRoot } from "../version.ts";
import { appRole, type Database, type Session } from "./database.ts";
import { migrateLock } from "./locks.ts";

interface Migration {
  version: number;
  name: string;
  sql: string;
  checksum: string;
}

let read: Migration[] | undefined;
/** The migrations that this program brings, in order; read once a process. */
const bundled = (): Migration[] => {
  read ??= readBundled();
  return read;
};

function readBundled(): Migration[] {
  const directory = new URL("db/migrations/", programRoot);
  const found = readdirSync(directory)
    .filter((name) => /^\d{4}-[a-z0-9-]+\.sql$/.test(name))
    .sort()
    .map((name) => ({ name, sql: readFileSync(new URL(name, directory), "utf8") }));
  if (found.length === 0)
    throw new SandpiperError("internal", "the program's db/migrations are missing", {
      hint: "Install sandpiper again.",
    });
  return found.map(({ name, sql }) => ({
    version: Number(name.slice(0, 4)),
    name,
    sql,
    checksum: createHash("sha256").update(sql).digest("hex"),
  }));
}

interface Applied {
  version: number;
  name: string;
  checksum: string;
}

/** What is still to be applied. @throws `schema` for a database that is newer than the program or was altered. */
function pending(migrations: Migration[], applied: Applied[]): Migration[] {
  for (const row of applied) {
    const own = migrations.find((migration) => migration.version === row.version);
    if (own === undefined) {
      throw new SandpiperError("schema", `the database is newer than this program (it has migration ${row.name})`, {
        hint: "Use the newer sandpiper.",
      });
    }
    if (own.checksum !== row.checksum) {
      throw new SandpiperError("schema", `migration ${row.name} in the database differs from the one in this program`, {
        hint: "Install a released sandpiper, or restore the database from a backup.",
      });
    }
  }
  const done = new Set(applied.map((row) => row.version));
  return migrations.filter((migration) => !done.has(migration.version));
}

const ledger = async (session: Session | Database): Promise<Applied[]> => {
  const exists = await session.one<{ there: boolean }>("SELECT to_regclass('schema_migrations') IS NOT NULL AS there");
  return exists!.there
    ? session.query<Applied>("SELECT version, name, checksum FROM schema_migrations ORDER BY version")
    : [];
};

/**
 * Brings the database up to this program, in one transaction under an advisory lock (two at once: the second waits and finds
 * nothing to do).
 *
 * @param database opened as `owner`.
 * @param after what the program does after a migration, in the same transaction, by the migration's name.
 * @returns the names of the migrations that were applied.
 */
export function migrate(
  database: Database,
  after: Readonly<Record<string, (tx: Session) => Promise<void>>> = {},
): Promise<string[]> {
  return database.session((session) =>
    session.transaction(async (tx) => {
      await tx.run("SET LOCAL lock_timeout = '60s'");
      await tx.run(`SELECT pg_advisory_xact_lock(${migrateLock})`);
      const steps = pending(bundled(), await ledger(tx));
      if (steps.length === 0) return [];
      await ensureRole(tx);
      await tx.run(`CREATE TABLE IF NOT EXISTS schema_migrations (
        version integer PRIMARY KEY, name text NOT NULL, checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())`);
      for (const step of steps) {
        await tx.run(step.sql);
        await tx.run("INSERT INTO schema_migrations (version, name, checksum) VALUES ($1, $2, $3)", [
          step.version,
          step.name,
          step.checksum,
        ]);
        await after[step.name]?.(tx);
      }
      return steps.map((step) => step.name);
    }),
  );
}

/** The role that the program works as exists, and the login may take it. */
async function ensureRole(tx: Session): Promise<void> {
  const me = (await tx.one<{ can_create: boolean; super: boolean; there: boolean }>(
    `SELECT r.rolcreaterole AS can_create, r.rolsuper AS super, EXISTS (SELECT 1 FROM pg_roles WHERE rolname = '${appRole}') AS there
     FROM pg_roles r WHERE r.rolname = current_user`,
  ))!;
  if (!me.there) {
    if (!me.can_create && !me.super) {
      throw new SandpiperError("config", `the database has no role ${appRole}, and this login may not create it`, {
        hint: `Have an administrator run: CREATE ROLE ${appRole} NOLOGIN; GRANT ${appRole} TO <this login>;`,
      });
    }
    await tx.run(`CREATE ROLE ${appRole} NOLOGIN NOSUPERUSER NOBYPASSRLS`);
  }
  const member = await tx.one<{ ok: boolean }>(`SELECT pg_has_role(current_user, '${appRole}', 'MEMBER') AS ok`);
  if (member!.ok) return;
  try {
    await tx.run(`GRANT ${appRole} TO CURRENT_USER`);
  } catch (cause) {
    throw new SandpiperError("config", `this login may not work as the role ${appRole}`, {
      cause,
      hint: `Have an administrator run: GRANT ${appRole} TO <this login>;`,
    });
  }
}

/** @throws `schema` unless the database is exactly as this program needs it. */
export async function requireCurrentSchema(database: Database): Promise<void> {
  const steps = pending(bundled(), await ledger(database));
  if (steps.length > 0) {
    throw new SandpiperError(
      "schema",
      `the database lacks ${steps.length === 1 ? "a migration" : `${steps.length} migrations`} (${steps[0]!.name})`,
      {
        hint: "Run `sandpiper migrate`.",
      },
    );
  }
}
