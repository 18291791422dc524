/** What the benchmarks run on: a PostgreSQL on disk that they start themselves, and real server and command processes. */
import { chmodSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { parseConfig } from "../../src/config.ts";
import { type Database, openDatabase, type Session } from "../../src/database.ts";
import { acquireEmbedded, createCluster } from "../../src/postgres/embedded.ts";
import { digestChunks } from "../../src/slices/grain-store.ts";
import { refreshSlice } from "../../src/slices/refresh.ts";
import type { ContentKey, SliceKey } from "../../src/slices/slice.ts";
import { createTestDatabase } from "../harness/test-database.ts";
import { events, introduce, offer, Party } from "../integration/parties.ts";

const endings: (() => Promise<void>)[] = [];
const teardown = { teardown: (work: () => Promise<void>) => endings.push(work) };

/** Ends everything that was begun since the last call, last first. */
export async function endAll(): Promise<void> {
  for (const end of endings.splice(0).reverse()) await end();
}

/** Starts the PostgreSQL of the whole run; databases are made in it by the test harness. */
export async function startPostgres(): Promise<() => Promise<void>> {
  const directory = mkdtempSync(join(tmpdir(), "sp-bench-"));
  chmodSync(directory, 0o711);
  await createCluster(directory);
  const server = await acquireEmbedded(directory);
  const { host, port } = server.connection("postgres");
  process.env.SANDPIPER_TEST_DATABASE_URL = `postgresql://postgres@localhost/postgres?host=${encodeURIComponent(host)}&port=${port}`;
  return async () => {
    await server.release();
    rmSync(directory, { recursive: true, force: true });
  };
}

/** A primary that serves and `n` secondaries that know it. */
export async function makeWorld(n = 1): Promise<{ primary: Party; secondaries: Party[] }> {
  const primary = await Party.make(teardown, "primary", "ABC Brakes");
  await primary.serve();
  const secondaries: Party[] = [];
  for (let i = 0; i < n; i++) {
    const secondary = await Party.make(teardown, "secondary", `Epicor ${i}`);
    await introduce(primary, secondary);
    secondaries.push(secondary);
  }
  return { primary, secondaries };
}

/** What a grain's payload is made of: catalogue XML that compresses well, or noise that does not. */
export type Kind = "xml" | "noise";

/** The slice of `name`, offered to all secondaries. */
export async function makeSlice(primary: Party, name: string, secondaries: Party[]): Promise<SliceKey> {
  await offer(primary, name, "aces-items", ...secondaries);
  const row = await (await primary.db()).one<{ key: SliceKey }>("SELECT slice_key AS key FROM slices WHERE name = $1", [
    name,
  ]);
  return row!.key;
}

/** Adds `count` grains with keys from `from` on, by SQL, and refreshes the slice. */
export async function fill(
  primary: Party,
  key: SliceKey,
  from: number,
  count: number,
  bytes: number,
  kind: Kind,
): Promise<void> {
  const db = await primary.db();
  // Like fitment: few makes and parts, running numbers, and some text.
  const xml = `convert_to(rpad('<App action="A" id="' || n || '"><BaseVehicle id="' || (n * 7 % 30011) || '"/><Qty>1</Qty><PartType id="' || (5000 + n % 40) ||
    '"/><Position id="' || (n % 30) || '"/><Part>F' || (n / 16) || '</Part><Note>with air conditioning</Note></App>', ${bytes}, ' '), 'UTF8')`;
  const noise = `decode((SELECT string_agg(md5(n::text || '.' || i::text), '') FROM generate_series(1, ${Math.ceil(bytes / 16)}) i), 'hex')`;
  await db.transaction(async (tx) => {
    await tx.run("SELECT 1 FROM slices WHERE slice_key = $1 FOR UPDATE", [key]);
    await tx.run(
      `INSERT INTO grains (content_key, id, grain_key, source, encoding, payload_bytes, payload)
         SELECT (SELECT content_key FROM slices WHERE slice_key = $1), id, 'part ' || n, 'bench', 'raw', octet_length(payload), payload
         FROM (SELECT md5(n::text || 'bench')::uuid AS id, n, ${kind === "xml" ? xml : noise} AS payload FROM generate_series($2::bigint, $3::bigint) n) made ORDER BY id`,
      [key, from, from + count - 1],
    );
    await refresh(tx, key);
  });
}

/** Recomputes a slice after its grains were changed by SQL. */
async function refresh(tx: Session, key: SliceKey): Promise<void> {
  const row = await tx.one<{ contentKey: ContentKey }>(
    'SELECT content_key AS "contentKey" FROM slices WHERE slice_key = $1',
    [key],
  );
  await refreshSlice(tx, { key, ...row! });
}

/** Adds one grain of `megabytes`, by SQL, and refreshes the slice. */
export async function fillLarge(primary: Party, key: SliceKey, megabytes: number): Promise<void> {
  const db = await primary.db();
  await db.transaction(async (tx) => {
    const content = "(SELECT content_key FROM slices WHERE slice_key = $1)";
    await tx.run(
      `INSERT INTO grain_chunks (content_key, grain_id, seq, data) SELECT ${content}, '00000000-0000-4000-8000-000000000001', n,
         (SELECT decode(string_agg(md5(n::text || '.' || i::text), ''), 'hex') FROM generate_series(1, 65536) i) FROM generate_series(0, $2::int - 1) n`,
      [key, megabytes],
    );
    await tx.run(
      `INSERT INTO grains (content_key, id, grain_key, source, encoding, payload_bytes)
       VALUES (${content}, '00000000-0000-4000-8000-000000000001', 'level-1', 'large.bin', 'raw', $2::bigint * 1048576)`,
      [key, megabytes],
    );
    const row = await tx.one<{ content: ContentKey }>(
      "SELECT content_key AS content FROM slices WHERE slice_key = $1",
      [key],
    );
    await digestChunks(tx, row!.content);
    await refresh(tx, key);
  });
}

/** Deletes the grains with keys from `from` on. */
export async function drop(primary: Party, key: SliceKey, from: number, count: number): Promise<void> {
  await (await primary.db()).run(
    "DELETE FROM grains WHERE content_key = (SELECT content_key FROM slices WHERE slice_key = $1) AND id IN (SELECT md5(n::text || 'bench')::uuid FROM generate_series($2::bigint, $3::bigint) n)",
    [key, from, from + count - 1],
  );
}

export interface Measured {
  ms: number;
  code: number | null;
  /** High-water mark of the command and of the server, in bytes. */
  rss: number;
  serverRss: number;
  summary: Record<string, number>;
  stderr: string;
}

const preload = new URL("./rss.js", import.meta.url).href;

/** Runs the real `sandpiper sync` and measures it. */
export async function sync(
  primary: Party,
  secondary: Party,
  args: string[] = [],
  env: Record<string, string> = {},
): Promise<Measured> {
  const file = join(secondary.directory, "rss");
  const started = performance.now();
  const { code, stdout, stderr } = await secondary.run(["sync", "--json", ...args], {
    nodeArgs: ["--import", preload],
    env: { SP_RSS: file, ...env },
    timeoutMs: 600_000,
  });
  const ms = performance.now() - started;
  return {
    ms,
    code,
    rss: read(file),
    serverRss: highWater(primary.server!.pid),
    summary: events(stdout).at(-1) ?? {},
    stderr,
  };
}

const read = (file: string): number => {
  try {
    return Number(readFileSync(file, "utf8"));
  } catch {
    return 0;
  }
};

/** VmHWM of a process, in bytes. */
const highWater = (pid: number): number =>
  Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) * 1024;

/** The floor: binary COPY out of the primary's tables into an empty database with the same columns, digests too, and indexes. @returns milliseconds. */
export async function baseline(primary: Party, tables = ["grains"]): Promise<number> {
  const target = await createTestDatabase("baseline");
  const into = await open(target.url, "owner");
  const from = await primary.db();
  for (const table of tables)
    await into.run(
      `CREATE TABLE ${table}_copy (LIKE ${table} INCLUDING INDEXES INCLUDING CONSTRAINTS INCLUDING STORAGE)`,
    );
  const started = performance.now();
  for (const table of tables) {
    await from.session((source) =>
      into.session((sink) =>
        pipeline(
          source.copyOut(`COPY (SELECT * FROM ${table}) TO STDOUT (FORMAT binary)`),
          sink.copyIn(`COPY ${table}_copy FROM STDIN (FORMAT binary)`),
        ),
      ),
    );
  }
  const ms = performance.now() - started;
  await into.close();
  await target.drop();
  return ms;
}

const open = (url: string, as: "app" | "owner" = "app"): Promise<Database> =>
  openDatabase(parseConfig({ flags: [], environment: { SANDPIPER_DATABASE_URL: url }, file: "bench.yaml" }), {
    as,
    name: "bench",
  });

/** Empties a secondary, but for what it knows of its primary. */
export async function forget(secondary: Party): Promise<void> {
  const db = await secondary.db();
  for (const table of [
    "subscriptions",
    "grain_chunks",
    "grains",
    "staging",
    "activity",
    "outbox",
    "sync_runs",
    "slices",
  ])
    await db.run(`DELETE FROM ${table}`);
  await db.run("UPDATE companies SET subs_etag = NULL");
}

/** Makes both databases settle, so that one measurement does not pay for the one before. */
export async function settle(...parties: Party[]): Promise<void> {
  for (const party of parties) {
    const owner = await open(party.database.url, "owner");
    await owner.run("VACUUM (ANALYZE)");
    await owner.run("CHECKPOINT");
    await owner.close();
  }
}

export const median = (values: number[]): number => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!;
