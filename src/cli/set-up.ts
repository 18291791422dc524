/** What `init` does: the configuration file, the cluster, the tables, and the row that says who we are; all or (as far as we made it) nothing. */
import { existsSync } from "node:fs";
import { rm } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import type { Server, ServerRole } from "../companies/company.ts";
import { initServer, readServer } from "../companies/company-store.ts";
import { type Config, loadConfig } from "../config/config.ts";
import { requireSecret } from "../config/secrets.ts";
import { type Database, openDatabase } from "../database/database.ts";
import { requireCurrentSchema } from "../database/migrate.ts";
import { createCluster } from "../database/postgres/embedded.ts";
import { SandpiperError } from "../errors.ts";
import { migrateDatabase } from "../operations/migrate.ts";
import { writeConfigFile } from "./config-file.ts";

export interface Wanted {
  role: ServerRole;
  companyName: string;
  serverId: string | undefined;
  /** What goes into a new file, and must agree with one that is there. */
  data: string | undefined;
  port: string | undefined;
  syncUrl: string | undefined;
}

export interface SetUp {
  server: Server;
  config: Config;
  fileWritten: boolean;
  /** Whether the database said who we are before we came. */
  existed: boolean;
}

const defaultData = "./sandpiper-data";

/** Sets up configuration and database. @throws `conflict` when either is there and says something else. */
export async function setUp(
  source: { flags: string[]; file: string },
  wanted: Wanted,
  signal: AbortSignal,
): Promise<SetUp> {
  const given = [
    ["data", wanted.data],
    ["server.port", wanted.port],
    ["server.sync_url", wanted.syncUrl],
  ].flatMap(([key, value]) => (value === undefined ? [] : [`--${key}=${value}`]));
  // Everything is checked before anything is written.
  const config = loadConfig([...source.flags, ...given], source.file, false);
  const fileWritten = !existsSync(source.file) && (await writeFile(config, wanted));
  try {
    if (!fileWritten) checkFile(source, wanted);
    // Read anew: from here on it is what every later command will see.
    const final = loadConfig(source.flags, source.file);
    for (const name of ["token_key", "api_key_hmac", "partner_key"] as const) requireSecret(final, name);
    return { ...(await setUpDatabase(final, wanted, signal)), config: final, fileWritten };
  } catch (error) {
    if (fileWritten) await rm(source.file, { force: true });
    throw error;
  }
}

function writeFile(config: Config, wanted: Wanted): Promise<boolean> {
  const { host, port, sync_url: syncUrl } = config.server;
  const usual = config.data === resolve(dirname(config.file), defaultData);
  const data = wanted.data ?? (usual ? defaultData : config.data);
  return writeConfigFile(config.file, {
    data,
    host,
    port,
    syncUrl,
    externalDatabase: config.database.url !== undefined,
  });
}

/** A file that is there is never changed, so what was asked for must be what it says. */
function checkFile(source: { flags: string[]; file: string }, wanted: Wanted): void {
  const { data, server, file } = loadConfig(source.flags, source.file);
  const differs = (key: string, is: unknown) =>
    new SandpiperError("conflict", `${file} exists and says ${key}: ${is ?? "nothing"}`, {
      hint: "Change it there, leave the option out, or name another file with --config FILE.",
    });
  if (wanted.data !== undefined && resolve(dirname(file), wanted.data) !== data) throw differs("data", data);
  if (wanted.port !== undefined && Number(wanted.port) !== server.port) throw differs("server.port", server.port);
  if (wanted.syncUrl !== undefined && wanted.syncUrl !== server.sync_url)
    throw differs("server.sync_url", server.sync_url);
}

async function setUpDatabase(
  config: Config,
  wanted: Wanted,
  signal: AbortSignal,
): Promise<{ server: Server; existed: boolean }> {
  if (config.database.url === undefined) await createCluster(config.data);
  signal.throwIfAborted();
  const asOwner = await using(openDatabase(config, { as: "owner", name: "sandpiper init" }), async (owner) => {
    await migrateDatabase(owner);
    signal.throwIfAborted();
    const existed = await isSetUp(owner);
    return { server: await initServer(owner, wanted.role, wanted.companyName, wanted.serverId), existed };
  });
  // As every later command will open it: a pooler or a missing grant shows now.
  await using(openDatabase(config, { name: "sandpiper init" }), async (db) => {
    await requireCurrentSchema(db);
    await readServer(db);
  });
  return asOwner;
}

const isSetUp = (owner: Database): Promise<boolean> =>
  readServer(owner).then(
    () => true,
    (error) => {
      if (error instanceof SandpiperError && error.code === "config") return false;
      throw error;
    },
  );

async function using<T>(opening: Promise<Database>, work: (db: Database) => Promise<T>): Promise<T> {
  const db = await opening;
  return work(db).finally(() => db.close());
}
