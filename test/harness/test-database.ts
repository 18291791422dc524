/**
 * A fresh database for a test file or a test: a copy of a template that has the migrations applied. The server is, in this order:
 *
 * - the one that run-tests.ts started for the whole run (its address comes by environment);
 * - SANDPIPER_TEST_DATABASE_URL: the URL of a superuser on a throw-away server;
 * - one that this process starts, and stops at its end.
 *
 * Never whatever listens on a default port. Only databases that the run itself made are dropped.
 */
import { randomBytes } from "node:crypto";
import t from "tap";
import { parseConfig } from "../../src/config/config.ts";
import { type Database, openDatabase } from "../../src/database/database.ts";
import { migrate } from "../../src/database/migrate.ts";
import { startCluster } from "./cluster.ts";
import { scratchVariable } from "./scratch.ts";

export interface TestDatabase {
  /** For `database.url`; the login is a superuser, as which the program takes the role sandpiper_app. */
  url: string;
  name: string;
  /** Drops it, with whoever is connected. Twice is harmless. */
  drop(): Promise<void>;
}

/** Where databases are made, and of what. */
export interface TestServer {
  adminUrl: string;
  template: string;
  /** Where test processes make their directories; undefined means: anywhere. */
  scratch?: string | undefined;
  stop(): Promise<void>;
}

const handedDown = { url: "SANDPIPER_TEST_CLUSTER_URL", template: "SANDPIPER_TEST_CLUSTER_TEMPLATE" };

/** The server of this run. For run-tests.ts, which starts it once; tests use {@link createTestDatabase}. */
export async function startTestServer(): Promise<TestServer> {
  const external = process.env.SANDPIPER_TEST_DATABASE_URL;
  const cluster =
    external === undefined ? await startCluster() : { adminUrl: external, scratch: undefined, stop: async () => {} };
  const template = `sandpiper_test_template_${randomBytes(8).toString("hex")}`;
  try {
    await administer(cluster.adminUrl, (admin) => admin.run(`CREATE DATABASE ${template} TEMPLATE template0`));
    await administer(databaseUrl(cluster.adminUrl, template), (owner) => migrate(owner));
  } catch (error) {
    await cluster.stop();
    throw error;
  }
  const stop = async () => {
    if (external !== undefined) await dropDatabase(external, template);
    await cluster.stop();
  };
  return { adminUrl: cluster.adminUrl, template, scratch: cluster.scratch, stop };
}

/** What a test process needs to know to use the server of its parent. */
export const serverEnvironment = (server: TestServer): Record<string, string> => ({
  [handedDown.url]: server.adminUrl,
  [handedDown.template]: server.template,
  ...(server.scratch === undefined ? {} : { [scratchVariable]: server.scratch }),
});

let server: Promise<TestServer> | undefined;
const made = new Map<string, TestDatabase>();

/**
 * A new database with the schema of this program and nothing in it.
 *
 * @param name appears in the database's name, for whoever looks at the server while a test hangs.
 */
export async function createTestDatabase(name = ""): Promise<TestDatabase> {
  server ??= findServer();
  const { adminUrl, template } = await server;
  const label = name.toLowerCase().replace(/[^a-z0-9]+/g, "_");
  const database = `sandpiper_test_${label.slice(0, 24)}${label === "" ? "" : "_"}${randomBytes(6).toString("hex")}`;
  // Copying files instead of logging every page: 15 ms instead of 240.
  await administer(adminUrl, (admin) =>
    admin.run(`CREATE DATABASE ${database} TEMPLATE ${template} STRATEGY FILE_COPY`),
  );
  const created = {
    name: database,
    url: databaseUrl(adminUrl, database),
    drop: async () => {
      if (made.delete(database)) await dropDatabase(adminUrl, database);
    },
  };
  made.set(database, created);
  return created;
}

async function findServer(): Promise<TestServer> {
  const { [handedDown.url]: adminUrl, [handedDown.template]: template } = process.env;
  const found =
    adminUrl !== undefined && template !== undefined
      ? { adminUrl, template, stop: async () => {} }
      : await startTestServer();
  t.teardown(async () => {
    await Promise.all([...made.values()].map((database) => database.drop()));
    await found.stop();
  });
  return found;
}

/** The same server, another database. */
function databaseUrl(adminUrl: string, database: string): string {
  const url = new URL(adminUrl);
  url.pathname = `/${database}`;
  return url.toString();
}

async function dropDatabase(adminUrl: string, database: string): Promise<void> {
  await administer(adminUrl, (admin) => admin.run(`DROP DATABASE IF EXISTS ${database} WITH (FORCE)`));
}

/** Does something as the server's superuser, through the program's own way to a database. */
async function administer(url: string, work: (owner: Database) => Promise<unknown>): Promise<void> {
  const config = parseConfig({ flags: [], environment: { SANDPIPER_DATABASE_URL: url }, file: "test.yaml" });
  const owner = await openDatabase(config, { as: "owner", name: "sandpiper tests" });
  try {
    await work(owner);
  } finally {
    await owner.close();
  }
}
