/**
 * The embedded PostgreSQL of a data directory, shared by every sandpiper process that uses it.
 *
 * PostgreSQL itself knows who uses it: each user holds one connection with a shared advisory
 * lock, and the last one out (it gets the lock exclusively) stops the server. A killed process loses
 * its lock by itself; the server then lives on until the next user has left.
 */
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { forgetPostgresVariables } from "../../config/environment.ts";
import { SandpiperError } from "../../errors.ts";
import { sessionSettings } from "../session-settings.ts";
import { accountFor } from "./binaries.ts";
import { type ClusterOptions, initCluster, startServer, stopServer } from "./cluster.ts";
import { clusterExists, guarded, type Layout, layoutOf, port } from "./data-dir.ts";

export { clusterExists } from "./data-dir.ts";

/** pg client settings; `ssl: false`, for a socket has no TLS. */
export interface EmbeddedConnection {
  host: string;
  port: number;
  user: string;
  database: string;
  ssl: false;
}

/** A cluster lives in `<dataDir>/postgres`; its socket in the same data directory. */
export interface EmbeddedServer {
  /** pg client settings for the given role: host = socket directory, database = "sandpiper". */
  connection(role: "postgres" | "sandpiper_app"): EmbeddedConnection;
  /**
   * Leaves the server; stops it when nobody else uses it. Twice is harmless.
   *
   * @param tidy is done first when nobody else is there and rows have changed since we came; others may come meanwhile. It may fail.
   */
  release(tidy?: () => Promise<unknown>): Promise<void>;
}

const patience = 30_000;
/** The advisory lock, in the database `postgres`, where sandpiper takes no other. */
const lock = "1396788560, 1"; // "SAND"

/**
 * Creates the cluster, the database `sandpiper` and the role `sandpiper_app`; does nothing when they
 * exist. They come to be complete or not at all, and of two processes at once both succeed.
 */
export function createCluster(dataDir: string, options: ClusterOptions = {}): Promise<void> {
  return guarded(dataDir, () => initCluster(dataDir, options));
}

/**
 * Uses the running server of this data directory, or starts it. A server that is just coming or
 * going is waited for, up to 30 s.
 */
export async function acquireEmbedded(dataDir: string, options: ClusterOptions = {}): Promise<EmbeddedServer> {
  const layout = layoutOf(dataDir);
  if (!(await clusterExists(dataDir))) {
    throw new SandpiperError("config", `There is no database in ${layout.dataDir}.`, {
      hint: "Create it with: sandpiper init",
    });
  }
  await accountFor(layout.cluster); // refuses another user's, before the socket does so less clearly
  return new Membership(layout, options, await guarded(layout.dataDir, () => join(layout, options)));
}

class Membership implements EmbeddedServer {
  readonly #layout: Layout;
  readonly #options: ClusterOptions;
  readonly #leaving = new AbortController();
  #client: pg.Client | undefined;
  /** {@link changedRows} when we came. */
  #changedBefore = 0;
  #rejoining: Promise<void> | undefined;
  #released: Promise<void> | undefined;

  constructor(layout: Layout, options: ClusterOptions, present: Presence) {
    this.#layout = layout;
    this.#options = options;
    this.#hold(present);
  }

  connection(role: "postgres" | "sandpiper_app"): EmbeddedConnection {
    return { ...address(this.#layout), user: role, database: "sandpiper" };
  }

  release(tidy?: () => Promise<unknown>): Promise<void> {
    this.#released ??= this.#leave(tidy);
    return this.#released;
  }

  #hold({ client, changedBefore }: Presence): void {
    this.#client = client;
    this.#changedBefore = changedBefore;
    // A command that fails before it releases must end all the same; the server is then stopped by the next one.
    refable(client).unref();
    client.once("end", () => {
      this.#client = undefined;
      if (!this.#leaving.signal.aborted) this.#rejoining = this.#rejoin();
    });
  }

  /**
   * The lock went with its connection: the server fell, or restarted after one of its processes
   * was killed. Unless it is taken again, the next command to leave would stop the server under us.
   */
  async #rejoin(): Promise<void> {
    const { signal } = this.#leaving;
    while (!signal.aborted) {
      try {
        this.#hold(await join(this.#layout, this.#options, signal));
        return;
      } catch {
        // Whoever works with the database has errors of his own to report; here is only the next try.
        await sleep(2_000, undefined, { signal }).catch(() => {});
      }
    }
  }

  async #leave(tidy?: () => Promise<unknown>): Promise<void> {
    this.#leaving.abort();
    await this.#rejoining;
    const client = this.#client; // the server may fall while it is tidied up
    if (client === undefined) return;
    refable(client).ref(); // to be waited for again
    if (tidy !== undefined && (await isWorthIt(client, this.#changedBefore))) await tidy().catch(() => {});
    await leave(this.#layout, client);
  }
}

/** A connection that holds the shared lock. */
interface Presence {
  client: pg.Client;
  changedBefore: number;
}

/** Rows of the database `sandpiper` that were ever deleted or replaced, as far as PostgreSQL has been told: one that ends a connection has told it. */
const changedRows = "(SELECT tup_updated + tup_deleted FROM pg_stat_database WHERE datname = 'sandpiper')::float8";

/** What a sync without news writes down of itself stays below this. */
const fewRows = 10;

/** Whether nobody else uses the server and more has changed in it than what is always written down. */
async function isWorthIt(client: pg.Client, changedBefore: number): Promise<boolean> {
  try {
    const { rows } = await client.query(
      `SELECT ${changedRows} AS changed, count(*)::int AS users FROM pg_locks WHERE locktype = 'advisory' AND granted
         AND (classid, objid, objsubid) = (${lock}, 2) AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`,
    );
    // It counts anew after a crash.
    const changed = rows[0].changed - changedBefore;
    return rows[0].users === 1 && (changed >= fewRows || changed < 0);
  } catch {
    return false; // the server is gone: nothing can be done with it
  }
}

/** A connection that holds the shared lock, on a server that is not about to stop. */
async function join(layout: Layout, options: ClusterOptions, signal?: AbortSignal): Promise<Presence> {
  const deadline = Date.now() + patience;
  for (;;) {
    const found = await tryJoin(layout);
    if ("client" in found) return found;
    const left = deadline - Date.now();
    if (left <= 0 || signal?.aborted) {
      throw new SandpiperError("storage", "The embedded PostgreSQL is still starting up or shutting down.", {
        cause: found.error,
        hint: `Run again in a moment; if that does not help, look into ${layout.cluster}/log and ${layout.startLog}.`,
      });
    }
    if (found.absent && (await startServer(layout, options, left / 1000)) === "started") continue;
    await sleep(100);
  }
}

async function tryJoin(layout: Layout): Promise<Presence | { absent: boolean; error: unknown }> {
  const client = newClient(layout);
  try {
    await client.connect();
    // One that is just leaving has the lock exclusively; whether it stops the server shows soon.
    await client.query(`${sessionSettings}; SET lock_timeout = '5s'`);
    const { rows } = await client.query(`SELECT ${changedRows} AS changed, pg_advisory_lock_shared(${lock})`);
    // The lock is also granted for a moment when its exclusive holder ends in the stop that he asked for. A
    // stopping server takes no new connection: one more that gets in proves that no stop had begun.
    const probe = newClient(layout);
    await probe.connect().finally(() => discard(probe));
    return { client, changedBefore: rows[0].changed };
  } catch (error) {
    discard(client);
    const { code, message } = error as { code?: string; message: string };
    if (code === "ENOENT" || code === "ECONNREFUSED") return { absent: true, error };
    if (passing.has(code ?? "") || /terminated|timeout|not queryable/.test(message)) return { absent: false, error };
    throw new SandpiperError("storage", `The embedded PostgreSQL refused the connection: ${message}`, {
      cause: error,
      hint: `Look into ${layout.cluster}/log.`,
    });
  }
}

/** Shutting down or starting up, no connection or lock to be had yet, or the server gone beneath us. */
const passing = new Set(["57P01", "57P02", "57P03", "53300", "55P03", "ECONNRESET", "EPIPE", "EAGAIN"]);

async function leave(layout: Layout, client: pg.Client): Promise<void> {
  let alone = false;
  try {
    await client.query(`SELECT pg_advisory_unlock_shared(${lock})`);
    const { rows } = await client.query(`SELECT pg_try_advisory_lock(${lock}) AS alone`);
    alone = rows[0].alone;
  } catch {
    // The server is gone, or the connection: there is nothing left to leave.
  }
  try {
    if (alone) await guarded(layout.dataDir, () => stopServer(layout));
  } finally {
    discard(client);
  }
}

function address(layout: Layout): Omit<EmbeddedConnection, "user" | "database"> {
  return { host: layout.socketDir, port, ssl: false };
}

function newClient(layout: Layout): pg.Client {
  forgetPostgresVariables();
  const client = new pg.Client({
    ...address(layout),
    user: "postgres",
    database: "postgres",
    application_name: "sandpiper (presence)",
    connectionTimeoutMillis: 5_000,
  });
  // A server that dies beneath an idle connection must not take the process with it.
  client.on("error", () => {});
  return client;
}

/** The two methods that @types/pg leaves out. */
function refable(client: pg.Client): { ref(): void; unref(): void } {
  return client as pg.Client & { ref(): void; unref(): void };
}

function discard(client: pg.Client): void {
  client.end().catch(() => {});
}
