/** Connections, transactions and COPY, over `pg`: what a database is once it is open (database.ts opens it). Where SQL stands: ARCHITECTURE.md, "Stores". */
import type { Readable, Writable } from "node:stream";
import type pg from "pg";
import { from as copyFrom, to as copyTo } from "pg-copy-streams";
import { SandpiperError } from "../errors.ts";
import { translate } from "./database-errors.ts";
import type { Disk } from "./postgres/disk.ts";
import { prepared, preparedName } from "./prepared.ts";
import { everything, type Scope, scopeName } from "./scope.ts";

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
   * The same pool, whose sessions see and change only what `scope` may: row-level security (db/schema.sql; why: 0003 and 0009). Once `wanted` is
   * aborted no more statements begin, and transactions are rolled back; its reason is thrown.
   */
  as(scope: Scope, wanted?: AbortSignal): Database;
  /** The disk that it is on, if it is the embedded one: that of another cannot be seen. */
  readonly disk?: Disk | undefined;
  /** Closes all connections, and leaves the embedded server if there is one. Twice is harmless. */
  close(): Promise<void>;
}

/** A pool that is open, as one who sees everything. @param release is called when it is closed. */
export function poolDatabase(pool: pg.Pool, release: () => Promise<void>, disk: Disk | undefined): Database {
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
