/** Opening the database that the configuration names: the embedded one, or one of the operator's own. */
import { setDefaultAutoSelectFamilyAttemptTimeout } from "node:net";
import { userInfo } from "node:os";
import pg from "pg";
import type { Config } from "../config/config.ts";
import { forgetPostgresVariables } from "../config/environment.ts";
import { SandpiperError } from "../errors.ts";
import type { Logger } from "../log.ts";
import { throughPooler, translate } from "./database-errors.ts";
import { type Database, poolDatabase, type Session } from "./database-sessions.ts";
import { external } from "./database-url.ts";
import { layoutOf } from "./postgres/data-dir.ts";
import { Disk } from "./postgres/disk.ts";
import { acquireEmbedded } from "./postgres/embedded.ts";
import { sessionSettings } from "./session-settings.ts";
import { vacuumGrains } from "./vacuum-store.ts";

export type { Database, Session, TransactionOptions } from "./database-sessions.ts";

export const appRole = "sandpiper_app";

// int8 arrives as a string, since it may not fit a number. Ours are counts, bytes and keys: all fit.
const types = {
  getTypeParser: ((oid: number, format?: "text" | "binary") =>
    oid === 20
      ? (value: string) => safeInteger(value)
      : pg.types.getTypeParser(oid, format as "text")) as typeof pg.types.getTypeParser,
};

function safeInteger(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value))
    throw new SandpiperError("internal", `the database holds a number beyond 2^53: ${text}`);
  return value;
}

type Role = "app" | "owner";

interface Access {
  connection: pg.ClientConfig;
  release: () => Promise<void>;
  disk?: Disk;
}

export interface OpenOptions {
  as?: Role;
  name?: string;
  log?: Logger;
  /** What is to be done, as its owner, before the embedded database is stopped: by the last one out, if something has changed. What it throws is passed over. */
  beforeStop?: (owner: Database) => Promise<unknown>;
}

/**
 * Opens the database that the configuration names.
 *
 * @param options.as `app` works as the role that owns nothing; `owner` is for migrations and maintenance alone.
 * @param options.name shown by PostgreSQL as the application's name (63 characters at most).
 */
export async function openDatabase(config: Config, options: OpenOptions = {}): Promise<Database> {
  forgetPostgresVariables();
  // As long as a connection to a primary waits (sync/transport/dialling.ts): pg leaves it to Node how long each address of a name has.
  setDefaultAutoSelectFamilyAttemptTimeout(5000);
  const access: Access =
    config.database.url === undefined
      ? await embedded(config, options)
      : { connection: external(config.database.url, loginName()), release: async () => {} };
  const database = pooled(access, config.database.pool_size, options);
  try {
    if (config.database.url !== undefined) await checkServer(database);
  } catch (error) {
    await database.close();
    throw error;
  }
  return database;
}

async function embedded(config: Config, options: OpenOptions): Promise<Access> {
  const server = await acquireEmbedded(config.data);
  const { beforeStop } = options;
  const owner = { connection: server.connection("postgres"), release: async () => {} };
  const disk = new Disk(layoutOf(config.data).cluster, config.limits.disk_reserve, () => clean(owner.connection));
  const last = async (work: NonNullable<typeof beforeStop>) => {
    if (!(await disk.holds(false))) return; // it makes room, but writes a log first
    const database = pooled(owner, 1, { ...options, as: "owner" });
    await work(database).finally(() => database.close());
  };
  return {
    connection: server.connection(options.as === "owner" ? "postgres" : appRole),
    release: () => server.release(beforeStop && (() => last(beforeStop))),
    disk,
  };
}

/** Makes the space of grains that were deleted usable again, and lets go of the log that is not needed any more: as the owner, who alone may. */
async function clean(owner: pg.ClientConfig): Promise<void> {
  const client = new pg.Client({ ...owner, application_name: "sandpiper (space)" });
  client.on("error", () => {}); // the statement that it meets fails as well
  try {
    await client.connect();
    // The first one lets go of the log that the second writes over: without it, what is to make room fills the disk.
    await client.query("CHECKPOINT");
    await client.query(vacuumGrains);
    await client.query("CHECKPOINT");
  } catch (error) {
    throw translate(error);
  } finally {
    await client.end().catch(() => {});
  }
}

function pooled({ connection, release, disk }: Access, size: number, { as = "app", name, log }: OpenOptions): Database {
  const pool = new pg.Pool({
    ...connection,
    types,
    max: size,
    application_name: name ?? "sandpiper",
    connectionTimeoutMillis: 10_000,
    idleTimeoutMillis: 30_000,
    keepAlive: true,
    onConnect: async (client: pg.ClientBase) => {
      await client.query(as === "app" ? `${sessionSettings}; SET ROLE ${appRole}` : sessionSettings);
    },
  } as pg.PoolConfig);
  // An idle connection that breaks (a restart of the server) is replaced by the pool; without a listener Node would exit.
  pool.on("error", (error) => log?.warn({ event: "database.connection_lost", reason: error.message }));
  return poolDatabase(pool, release, disk);
}

/** Who runs this process; "" when the system has no name for that. */
function loginName(): string {
  try {
    return userInfo().username;
  } catch {
    return "";
  }
}

/** Refuses a server that is too old, a database whose text is not ours, and a pooler that would break session locks. */
async function checkServer(database: Database): Promise<void> {
  await database.session(async (first) => {
    const is = (await first.one<{ version: number; encoding: string; replication: string; name: string }>(
      `SELECT current_setting('server_version_num')::int AS version, current_setting('server_encoding') AS encoding,
         current_setting('session_replication_role') AS replication, current_database() AS name`,
    ))!;
    if (is.version < 150000) {
      throw new SandpiperError(
        "config",
        `the database is PostgreSQL ${Math.floor(is.version / 10000)}; sandpiper needs 15 or newer`,
        { hint: "Upgrade the server, or leave database.url out to use the embedded one." },
      );
    }
    // Digests are computed from the bytes of texts as the server has them, and a name may have any character.
    if (is.encoding !== "UTF8") {
      throw new SandpiperError("config", `the encoding of the database ${is.name} is ${is.encoding}, not UTF8`, {
        hint: "Make another one: CREATE DATABASE ... OWNER sandpiper_owner ENCODING 'UTF8' TEMPLATE template0; and name it in database.url.",
      });
    }
    // Only a superuser may change it back.
    if (is.replication !== "origin") {
      throw new SandpiperError(
        "config",
        `session_replication_role is ${is.replication} for this login, which switches constraints off`,
        { hint: "Have an administrator take it back: ALTER ROLE (or DATABASE) ... RESET session_replication_role." },
      );
    }
    // A pooler in transaction mode hands an idle client's server process to whoever begins a transaction.
    const pid = async (session: Session) => (await session.one<{ pid: number }>("SELECT pg_backend_pid() AS pid"))!.pid;
    const before = await pid(first);
    await database.transaction(async (second) => {
      const other = await pid(second);
      const after = await pid(first);
      if (other === before || after !== before) {
        throw throughPooler("transaction");
      }
    });
  });
}
