/** A primary and secondaries as real processes, each with its own database, set up by the real commands. */

import { readFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { sealApiKey } from "../../src/companies/api-key.ts";
import { addCompany, issueApiKey, readServer, requireCompany } from "../../src/companies/company-store.ts";
import { type Config, parseConfig } from "../../src/config/config.ts";
import { requireSecret } from "../../src/config/secrets.ts";
import { type Database, openDatabase } from "../../src/database/database.ts";
import { everything } from "../../src/database/scope.ts";
import { applyBatch, type BatchLine } from "../../src/slices/batch.ts";
import { addSlice, requireSlice } from "../../src/slices/slice-store.ts";
import { addSubscription } from "../../src/subscriptions/subscription-store.ts";
import {
  type Outcome,
  type RunOptions,
  type ServerProcess,
  sandpiper,
  startSandpiper,
  startServer,
} from "../harness/process.ts";
import { makeScratch, removeScratch } from "../harness/scratch.ts";
import { createTestDatabase, type TestDatabase } from "../harness/test-database.ts";
import { sliceContents } from "./oracle.ts";

interface Teardown {
  teardown(work: () => Promise<void>): unknown;
}

/** One company's server: its directory, its database, and its command. */
export class Party {
  #db: Database | undefined;
  server: ServerProcess | undefined;

  private constructor(
    readonly directory: string,
    readonly database: TestDatabase,
    readonly role: "primary" | "secondary",
    readonly company: string,
  ) {}

  /** Sets up a party; it is taken down with the test. @param database unless said otherwise, a new one of this test run. @param env for `init`. */
  static async make(
    test: Teardown,
    role: "primary" | "secondary",
    company: string,
    init: string[] = [],
    database?: TestDatabase,
    env: Record<string, string> = {},
  ): Promise<Party> {
    const root = await makeScratch();
    const directory = join(root, role);
    await mkdir(directory);
    const party = new Party(directory, database ?? (await createTestDatabase(company)), role, company);
    test.teardown(async () => {
      await party.server?.kill9();
      await party.#db?.close();
      await party.database.drop();
      await removeScratch(root);
    });
    await party.ok(["init", "--role", role, "--company", company, ...init], { env });
    return party;
  }

  run(args: readonly string[], options: RunOptions = {}): Promise<Outcome> {
    return sandpiper(args, { ...options, ...this.#place(options) });
  }

  start(args: readonly string[], options: RunOptions = {}) {
    return startSandpiper(args, { ...options, ...this.#place(options) });
  }

  #place(options: RunOptions) {
    return { cwd: this.directory, env: { SANDPIPER_DATABASE_URL: this.database.url, ...options.env } };
  }

  /** Runs a command that must succeed. @returns its standard output. */
  async ok(args: readonly string[], options: RunOptions = {}): Promise<string> {
    const { code, stdout, stderr } = await this.run(args, options);
    if (code !== 0) throw new Error(`sandpiper ${args.join(" ")} ended with ${code}\n${stdout}\n${stderr}`);
    return stdout;
  }

  /** Starts `serve`; a second call with the port of the first replaces it. */
  async serve(
    options: { env?: Record<string, string>; nodeArgs?: string[]; port?: string; args?: string[] } = {},
  ): Promise<ServerProcess> {
    const args = [...(options.args ?? []), ...(options.port === undefined ? [] : ["--server.port", options.port])];
    this.server = await startServer({
      ...this.#place({ env: options.env ?? {} }),
      nodeArgs: options.nodeArgs ?? [],
      args,
    });
    return this.server;
  }

  /** The configuration that `init` wrote, with what an environment adds to it. */
  config(environment: Record<string, string> = {}): Config {
    const file = join(this.directory, "sandpiper.yaml");
    return parseConfig({ flags: [], environment, file, text: readFileSync(file, "utf8") });
  }

  /** A connection of the test's own, as the program's role. */
  async db(): Promise<Database> {
    if (this.#db === undefined) {
      const config = parseConfig({
        flags: [],
        environment: { SANDPIPER_DATABASE_URL: this.database.url },
        file: "test.yaml",
      });
      this.#db = await openDatabase(config, { name: "sandpiper test" });
    }
    return this.#db;
  }

  /** Closes the test's own connections; {@link db} opens new ones. */
  async close(): Promise<void> {
    await this.#db?.close();
    this.#db = undefined;
  }

  /** Changes a slice of this primary. */
  async batch(slice: string, lines: BatchLine[]): Promise<void> {
    const db = await this.db();
    await applyBatch(db, await requireSlice(db, slice, everything), lines, 2 ** 32);
  }

  /** Everything that counts of the slices here, by id: what two parties must agree on. */
  async content(): Promise<Record<string, unknown>> {
    return sliceContents(await this.db());
  }

  /** Grains that no slice shows: what is staged. */
  async staged(): Promise<number> {
    const db = await this.db();
    const row = await db.one<{ n: number }>(
      "SELECT count(*) AS n FROM grains WHERE content_key NOT IN (SELECT content_key FROM slices)",
    );
    return row!.n;
  }

  /** Every row of every table, as text, but for staging: what a rehearsal must not touch. */
  async dump(): Promise<string> {
    const db = await this.db();
    const tables = await db.query<{ name: string }>(
      "SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public' AND tablename NOT IN ('grain_rows', 'spare_room') ORDER BY 1",
    );
    const parts: string[] = [];
    for (const { name } of tables) {
      const rows = await db.query<{ row: string }>(`SELECT t::text AS row FROM ${name} t ORDER BY 1`);
      parts.push(name, ...rows.map(({ row }) => row));
    }
    return parts.join("\n");
  }
}

/**
 * Registers `secondary` with `primary` (which must be serving), as the commands do: the commands themselves have tests of their own,
 * and a process costs half a second.
 */
export async function introduce(primary: Party, secondary: Party): Promise<void> {
  const there = await primary.db();
  const here = await secondary.db();
  const us = await readServer(here);
  const them = await readServer(there);
  const registered = await addCompany(there, { id: us.serverId, name: secondary.company });
  const apiKey = await issueApiKey(there, registered.id, requireSecret(primary.config(), "api_key_hmac"));
  const sealed = sealApiKey(apiKey, them.serverId, requireSecret(secondary.config(), "partner_key"));
  await addCompany(here, {
    id: them.serverId,
    name: primary.company,
    target: { url: primary.server!.url, mayBePrivate: true },
    sealed,
  });
}

/** Slice NAME on the primary, with subscription NAME-COMPANY for each of the secondaries. */
export async function offer(primary: Party, name: string, type: string, ...secondaries: Party[]): Promise<void> {
  const db = await primary.db();
  await addSlice(db, { companyId: (await readServer(db)).serverId, name, type });
  for (const secondary of secondaries) await subscribe(primary, name, secondary);
}

export async function subscribe(primary: Party, slice: string, secondary: Party): Promise<void> {
  const db = await primary.db();
  const company = await requireCompany(db, secondary.company);
  const { key } = await requireSlice(db, slice, everything);
  await addSubscription(db, { companyId: company.id, sliceKey: key, name: `${slice}-${secondary.company}` });
}

/** A primary that serves and a secondary that knows it. */
export async function makePair(
  test: Teardown,
  databases: { primary?: TestDatabase; secondary?: TestDatabase } = {},
): Promise<{ primary: Party; secondary: Party }> {
  const primary = await Party.make(test, "primary", "ABC Brakes", [], databases.primary);
  const secondary = await Party.make(test, "secondary", "Epicor", [], databases.secondary);
  await primary.serve();
  await introduce(primary, secondary);
  return { primary, secondary };
}

type AddLine = Extract<BatchLine, { add: unknown }>;

/** The same lines with ids that are the same every time. */
export const withIds = (lines: AddLine[]): AddLine[] =>
  lines.map(({ add }, i) => ({ add: { ...add, id: `00000000-0000-4000-a000-${String(i).padStart(12, "0")}` } }));

/** `n` lines that add grains of about `bytes` bytes under the keys `part FROM ...`. */
export function addLines(from: number, n: number, bytes = 200): AddLine[] {
  return Array.from({ length: n }, (_, i) => ({
    add: {
      grain_key: `part ${from + i}`,
      source: "test",
      encoding: "raw" as const,
      payload: `<Part n="${from + i}">${"x".repeat(Math.max(0, bytes - 20))}</Part>`,
    },
  }));
}

/** The JSON lines that `sync --json` prints. */
export const events = (stdout: string) =>
  stdout
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line));
