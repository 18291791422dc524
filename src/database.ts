/**
 * Connections, transactions and COPY, over `pg`. Besides this file, database-errors.ts knows `pg`, for its errors, and postgres/embedded.ts, for the
 * connection that holds the embedded server. Where SQL stands: ARCHITECTURE.md, "Stores".
 */
import { setDefaultAutoSelectFamilyAttemptTimeout } from "node:net";
import { userInfo } from "node:os";
import type { Readable, Writable } from "node:stream";
import pg from "pg";
import { from as copyFrom, to as copyTo } from "pg-copy-streams";
import { type Config, forgetPostgresVariables } from "./config.ts";
import { throughPooler, translate } from "./database-errors.ts";
import { external } from "./database-url.ts";
import { SandpiperError } from "./errors.ts";
import type { Logger } from "./log.ts";
import { layoutOf } from "./postgres/data-dir.ts";
import { Disk } from "./postgres/disk.ts";
import { acquireEmbedded } from "./postgres/embedded.ts";
import { prepared, preparedName } from "./prepared.ts";
import { everything, type Scope, scopeName } from "./scope.ts";
import { sessionSettings } from "./session-settings.ts";

/** One connection. Statements run one after another; parameters only, never text put together from input. */
export interface Session {
  query<Row>(text: string, values?: readonly unknown[]): Promise<Row[]>;
  /** The one row, or undefined. */
  one<Row>(text: string, values?: readonly unknown[]): Promise<Row | undefined>;
  /** Runs a statement and returns how many rows it touched. */
  run(text: string, values?: readonly unknown[]): Promise<number>;
  /** `COPY ... FROM STDIN`: write the rows, end, await 'finish'. */
  copyIn(text: string): Writable;
  /** `COPY ... TO STDOUT`: read the rows. */
  copyOut(text: string): Readable;
  /** Runs `work` in a transaction of this connection. */
  transaction<T>(work: (tx: Session) => Promise<T>, options?: TransactionOptions): Promise<T>;
  /** Breaks the connection off, whatever it is doing: the server rolls back. */
  destroy(): void;
  /** The server process of this connection, for messages and tests. */
  readonly backendPid: number;
}

export interface TransactionOptions {
  readOnly?: boolean;
  /** All statements see one state of the database (repeatable read). */
  snapshot?: boolean;
}

/** A pool of sessions, as the role `sandpiper_app` unless it was opened as `owner`; they see everything, unless they are had {@link Database.as} somebody. */
export interface Database {
  session<T>(work: (session: Session) => Promise<T>): Promise<T>;
  query: Session["query"];
  one: Session["one"];
  run: Session["run"];
  transaction: Session["transaction"];
  /**
   * The same pool, whose sessions see and change only what `scope` may: row-level security (0003-row-security.sql). Once `wanted` is
   * aborted no more statements begin, and transactions are rolled back; its reason is thrown.
   */
  as(scope: Scope, wanted?: AbortSignal): Database;
  /** The disk that it is on, if it is the embedded one: that of another cannot be seen. */
  readonly disk?: Disk | undefined;
  /** Closes all connections, and leaves the embedded server if there is one. Twice is harmless. */
  close(): Promise<void>;
}

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
  // As long as a connection to a primary waits (sync/dialling.ts): pg leaves it to Node how long each address of a name has.
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
  const last = async (work: NonNullable<typeof beforeStop>) => {
    const database = pooled(owner, 1, { ...options, as: "owner" });
    await work(database).finally(() => database.close());
  };
  return {
    connection: server.connection(options.as === "owner" ? "postgres" : appRole),
    release: () => server.release(beforeStop && (() => last(beforeStop))),
    disk: new Disk(layoutOf(config.data).cluster, config.limits.disk_reserve, () => clean(owner.connection)),
  };
}

/** Makes the space of grains that were deleted usable again, and lets go of the log that is not needed any more: as the owner, who alone may. */
async function clean(owner: pg.ClientConfig): Promise<void> {
  const client = new pg.Client({ ...owner, application_name: "sandpiper (space)" });
  client.on("error", () => {}); // the statement that it meets fails as well
  try {
    await client.connect();
    await client.query("VACUUM grain_rows, grain_chunks");
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

function poolDatabase(pool: pg.Pool, release: () => Promise<void>, disk: Disk | undefined): Database {
  let closing: Promise<void> | undefined;
  const close = () => {
    closing ??= pool.end().then(release, release);
    return closing;
  };
  /** What each connection's sessions see at present. */
  const scopes = new WeakMap<pg.PoolClient, string>();
  return scopedDatabase({ pool, scopes, close, disk }, everything);
}

interface Pool {
  pool: pg.Pool;
  scopes: WeakMap<pg.PoolClient, string>;
  close: () => Promise<void>;
  disk: Disk | undefined;
}

function scopedDatabase(shared: Pool, scope: Scope, wanted?: AbortSignal): Database {
  const { pool, scopes, close, disk } = shared;
  const name = scopeName(scope);

  const borrow = async <T>(work: (client: pg.PoolClient, own: Session) => Promise<T>): Promise<T> => {
    wanted?.throwIfAborted();
    let client: pg.PoolClient;
    try {
      client = await pool.connect();
    } catch (error) {
      throw translate(error);
    }
    let broken: Error | undefined;
    const onError = (error: Error) => {
      broken = error;
    };
    client.on("error", onError);
    try {
      return await work(client, clientSession(client, wanted));
    } catch (error) {
      if (!(error instanceof SandpiperError) || error.code === "storage") broken ??= error as Error;
      throw error;
    } finally {
      client.off("error", onError);
      client.release(broken);
    }
  };

  /** Takes the connection into our scope, by this statement or by one that does so besides: if it fails, nobody knows what the scope is. */
  const enter = async <T>(client: pg.PoolClient, statement: () => Promise<T>): Promise<T> => {
    scopes.delete(client);
    const result = await statement();
    scopes.set(client, name);
    return result;
  };
  const setScope = (own: Session) => own.run("SELECT set_config('sandpiper.scope', $1, false)", [name]);

  const session: Database["session"] = (work) =>
    borrow(async (client, own) => {
      if (scopes.get(client) !== name) await enter(client, () => setScope(own));
      return work(own);
    });

  const query = <Row>(text: string, values: readonly unknown[] = []): Promise<Row[]> =>
    borrow(async (client, own) => {
      if (scopes.get(client) === name) return own.query<Row>(text, values);
      if (preparedName(text) !== undefined)
        return enter(client, () => own.query<Row>(entering(text, values.length), [...values, name]));
      await enter(client, () => setScope(own));
      return own.query<Row>(text, values);
    });

  return {
    session,
    query,
    one: async <Row>(text: string, values?: readonly unknown[]) => (await query<Row>(text, values))[0],
    run: (text, values) => session((s) => s.run(text, values)),
    transaction: (work, options) => session((s) => s.transaction(work, options)),
    as: (other, until) => scopedDatabase(shared, other, until),
    disk,
    close,
  };
}

/**
 * The query, and with it what takes the connection into the scope that is its last parameter. The query comes after: its rows are counted from
 * an offset, which is 0, and which PostgreSQL can know no sooner than the scope is set.
 */
const entering = (text: string, parameters: number): string =>
  prepared(`WITH scoped AS MATERIALIZED (SELECT set_config('sandpiper.scope', $${parameters + 1}, false) AS name)
    SELECT answer.* FROM scoped CROSS JOIN LATERAL (SELECT * FROM (${text}) asked OFFSET length(scoped.name) * 0) answer`);

function clientSession(client: pg.PoolClient, wanted?: AbortSignal): Session {
  const send = async (text: string, values?: readonly unknown[]): Promise<pg.QueryResult> => {
    const name = preparedName(text);
    try {
      return await client.query(name === undefined ? text : { name, text }, values as unknown[]);
    } catch (error) {
      throw translate(error);
    }
  };
  const run: typeof send = (text, values) => {
    wanted?.throwIfAborted();
    return send(text, values);
  };
  const self: Session = {
    query: async <Row>(text: string, values?: readonly unknown[]) => (await run(text, values)).rows as Row[],
    one: async <Row>(text: string, values?: readonly unknown[]) => (await run(text, values)).rows[0] as Row | undefined,
    run: async (text, values) => (await run(text, values)).rowCount ?? 0,
    copyIn: (text) => copyInto(client, text),
    copyOut: (text) => client.query(copyTo(text)),
    transaction: async (work, options) => {
      await run(
        `BEGIN${options?.snapshot ? " ISOLATION LEVEL REPEATABLE READ" : ""}${options?.readOnly ? " READ ONLY" : ""}`,
      );
      try {
        const result = await work(self);
        await run("COMMIT");
        return result;
      } catch (error) {
        await send("ROLLBACK").catch(() => {});
        throw translate(error);
      }
    },
    destroy: () => {
      (client as unknown as { connection: { stream: { destroy(): void } } }).connection.stream.destroy();
    },
    backendPid: (client as unknown as { processID: number }).processID,
  };
  return self;
}

/** A COPY that fails as a stream does: when the database has failed, pg-copy-streams stumbles at the next write over the connection that it forgot. */
function copyInto(client: pg.PoolClient, text: string): Writable {
  const stream = client.query(copyFrom(text));
  stream.once("error", (error) => {
    stream._write = (_chunk, _encoding, done) => done(error);
    stream._writev = (_chunks, done) => done(error);
  });
  return stream;
}
