/** What the benchmarks run on: a PostgreSQL on disk that they start themselves, a real server, and data made by SQL. */
import { randomUUID } from "node:crypto";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseConfig } from "../../src/config/config.ts";
import { type Database, openDatabase, type Session } from "../../src/database/database.ts";
import { acquireEmbedded, createCluster } from "../../src/database/postgres/embedded.ts";
import { everything } from "../../src/database/scope.ts";
import { payloads } from "../../src/slices/payloads/payloads.ts";
import { refreshSlice } from "../../src/slices/refresh.ts";
import type { Slice } from "../../src/slices/rules/slice.ts";
import { listSlices, requireSlice } from "../../src/slices/slice-store.ts";
import { introduce, offer, Party, subscribe } from "../integration/parties.ts";

const endings: (() => Promise<void>)[] = [];
const teardown = { teardown: (work: () => Promise<void>) => endings.push(work) };

/** Ends everything that was begun, last first. */
export async function endAll(): Promise<void> {
  for (const end of endings.splice(0).reverse()) await end();
}

let postgres: { directory: string; release(): Promise<void> } | undefined;

/** Starts the PostgreSQL of the whole run; databases are made in it by the test harness. */
export async function startPostgres(): Promise<() => Promise<void>> {
  const directory = mkdtempSync(join(tmpdir(), "sp-bench-"));
  chmodSync(directory, 0o711);
  await createCluster(directory);
  const server = await acquireEmbedded(directory);
  postgres = { directory, release: () => server.release() };
  const { host, port } = server.connection("postgres");
  process.env.SANDPIPER_TEST_DATABASE_URL = `postgresql://postgres@localhost/postgres?host=${encodeURIComponent(host)}&port=${port}`;
  return async () => {
    await postgres!.release();
    rmSync(directory, { recursive: true, force: true });
  };
}

/** In which state the databases are when something is measured. */
export type Condition = "settled" | "cold";

/**
 * Brings both databases into that state, so that one measurement does not pay for the one before: settled, that is vacuumed, analyzed and
 * written to disk; or cold, as on a machine that has just started, with tables that nobody has ever analyzed.
 */
export async function prepare(world: World, condition: Condition): Promise<void> {
  await (condition === "settled" ? settle(world) : chill(world));
}

async function settle({ primary, secondary }: World): Promise<void> {
  for (const { database } of [primary, secondary]) {
    await asOwner(database.url, async (owner) => {
      await owner.run("VACUUM (ANALYZE)");
      await owner.run("CHECKPOINT");
    });
  }
}

async function chill({ primary, secondary }: World): Promise<void> {
  await primary.server!.kill9();
  for (const party of [primary, secondary]) {
    await party.close();
    await asOwner(party.database.url, async (owner) => {
      // Whatever autovacuum was quick enough to find out.
      await owner.run("ALTER SYSTEM SET autovacuum = off");
      await owner.run(`DELETE FROM pg_statistic WHERE starelid >= 16384`);
      await owner.run(
        "UPDATE pg_class SET reltuples = -1, relpages = 0, relallvisible = 0 WHERE oid >= 16384 AND relkind IN ('r', 'i')",
      );
      await owner.run("CHECKPOINT");
    });
  }
  await postgres!.release();
  forgetFiles();
  const server = await acquireEmbedded(postgres!.directory);
  postgres!.release = () => server.release();
  await primary.serve({ port: new URL(primary.server!.url).port });
}

/** What the system has of files in memory, where we may make it forget that. */
function forgetFiles(): void {
  try {
    writeFileSync("/proc/sys/vm/drop_caches", "1");
  } catch {
    // Then they are read from there.
  }
}

/** A primary that serves, and a secondary that knows it. */
export interface World {
  primary: Party;
  secondary: Party;
}

let made: World | undefined;

/** The world, as if it were new: both empty but for what they know of each other, and the server a process that has served nobody. */
export async function makeWorld(): Promise<World> {
  if (made === undefined) {
    const primary = await Party.make(teardown, "primary", "ABC Brakes");
    const secondary = await Party.make(teardown, "secondary", "Epicor");
    await primary.serve();
    await introduce(primary, secondary);
    made = { primary, secondary };
  } else {
    const { primary, secondary } = made;
    await primary.server!.kill9();
    await Promise.all([empty(primary), empty(secondary)]);
    await primary.serve({ port: new URL(primary.server!.url).port });
  }
  return made;
}

/** Takes away everything but who is who. */
export async function empty(party: Party): Promise<void> {
  await asOwner(party.database.url, async (owner) => {
    const tables = await owner.query<{ name: string }>(
      `SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public'
         AND tablename NOT IN ('server', 'companies', 'api_keys', 'users', 'schema_migrations')`,
    );
    await owner.run(`TRUNCATE ${tables.map(({ name }) => name).join(", ")}`);
    await owner.run("UPDATE companies SET subs_etag = NULL");
  });
}

/** Does something as the owner of a database. */
export async function asOwner<T>(url: string, work: (owner: Database) => Promise<T>): Promise<T> {
  const config = parseConfig({ flags: [], environment: { SANDPIPER_DATABASE_URL: url }, file: "bench.yaml" });
  const owner = await openDatabase(config, { as: "owner", name: "bench" });
  try {
    return await work(owner);
  } finally {
    await owner.close();
  }
}

/** What a grain's payload is made of: catalogue XML that compresses well, or noise that does not. */
export type Kind = "xml" | "noise";

/** A slice whose grains have the numbers `from` to before `to`. */
export interface Parts {
  slice: Slice;
  bytes: number;
  kind: Kind;
  from: number;
  to: number;
}

/** A slice of `count` grains of `bytes` bytes, offered to `partners`. */
export async function makeParts(
  primary: Party,
  partners: Party[],
  name: string,
  count: number,
  bytes: number,
  kind: Kind,
): Promise<Parts> {
  const parts: Parts = { slice: await makeSlice(primary, partners, name), bytes, kind, from: 0, to: 0 };
  await (await primary.db()).transaction((tx) => grow(tx, parts, count));
  return parts;
}

async function makeSlice(primary: Party, partners: Party[], name: string): Promise<Slice> {
  await offer(primary, name, "aces-items", ...partners);
  return requireSlice(await primary.db(), name);
}

/** Replaces the `count` oldest grains by as many new ones. */
export async function replace(primary: Party, parts: Parts, count: number): Promise<void> {
  await (await primary.db()).transaction(async (tx) => {
    await tx.run(
      "DELETE FROM grains WHERE content_key = $1 AND id IN (SELECT md5(n::text || 'bench')::uuid FROM generate_series($2::bigint, $3::bigint) n)",
      [parts.slice.contentKey, parts.from, parts.from + count - 1],
    );
    parts.from += count;
    await grow(tx, parts, count);
  });
}

async function grow(tx: Session, parts: Parts, count: number): Promise<void> {
  // Like fitment: few makes and parts, running numbers, and some text.
  const xml = `convert_to(rpad('<App action="A" id="' || n || '"><BaseVehicle id="' || (n * 7 % 30011) || '"/><Qty>1</Qty><PartType id="' || (5000 + n % 40) ||
    '"/><Position id="' || (n % 30) || '"/><Part>F' || (n / 16) || '</Part><Note>with air conditioning</Note></App>', ${parts.bytes}, ' '), 'UTF8')`;
  const noise = `(SELECT substr(string_agg(sha512(convert_to(n::text || '.' || i::text, 'UTF8')), ''::bytea), 1, ${parts.bytes}) FROM generate_series(1, ${Math.ceil(parts.bytes / 64)}) i)`;
  await tx.run("SELECT 1 FROM slices WHERE slice_key = $1 FOR UPDATE", [parts.slice.key]);
  // In the order of their numbers, in which the ids are random.
  await tx.run(
    `INSERT INTO grains (content_key, id, grain_key, source, encoding, payload_bytes, payload)
      SELECT $1::bigint, id, 'part ' || n, 'bench', 'raw', octet_length(payload), payload
      FROM (SELECT md5(n::text || 'bench')::uuid AS id, n, ${parts.kind === "xml" ? xml : noise} AS payload FROM generate_series($2::bigint, $3::bigint) n ORDER BY n) made`,
    [parts.slice.contentKey, parts.to, parts.to + count - 1],
  );
  parts.to += count;
  await refreshSlice(tx, parts.slice);
}

/** A slice with one grain of so many MiB of noise. */
export async function makeLarge({ primary, secondary }: World, megabytes: number): Promise<void> {
  const slice = await makeSlice(primary, [secondary], "large");
  await (await primary.db()).transaction(async (tx) => {
    await tx.run(
      `INSERT INTO grain_chunks (content_key, grain_id, seq, data) SELECT $1, '00000000-0000-4000-8000-000000000001', n,
         (SELECT string_agg(sha512(convert_to(n::text || '.' || i::text, 'UTF8')), ''::bytea) FROM generate_series(1, 16384) i) FROM generate_series(0, $2::int - 1) n`,
      [slice.contentKey, megabytes],
    );
    await tx.run(
      `INSERT INTO grains (content_key, id, grain_key, source, encoding, payload_bytes)
       VALUES ($1, '00000000-0000-4000-8000-000000000001', 'level-1', 'large.bin', 'raw', $2)`,
      [slice.contentKey, megabytes * 1024 * 1024],
    );
    await payloads.digest(tx, slice.contentKey);
    await refreshSlice(tx, slice);
  });
}

/** Slices like the first one, which has nothing in it, subscribed to by all that it is subscribed to. */
export async function makeEmpty({ primary, secondary }: World, count: number): Promise<void> {
  await makeSlice(primary, [secondary], "slice-0");
  await (await primary.db()).run(
    `WITH made AS (INSERT INTO slices (company_id, id, name, name_key, slice_type, hash)
       SELECT company_id, gen_random_uuid(), 'slice-' || n, 'slice-' || n, slice_type, hash FROM slices, generate_series(1, $1::int - 1) n RETURNING slice_key, name)
     INSERT INTO subscriptions (company_id, id, slice_key, name, name_key) SELECT (SELECT company_id FROM subscriptions LIMIT 1), gen_random_uuid(), slice_key, name, name FROM made`,
    [count],
  );
}

/** Another secondary, which subscribes to one slice. */
export async function makeSingle({ primary }: World, slice: string): Promise<World> {
  const secondary = await Party.make(teardown, "secondary", "Dealer");
  await introduce(primary, secondary);
  await subscribe(primary, slice, secondary);
  return { primary, secondary };
}

/** So many slices of one grain each, subscribed to by the secondary. */
export async function makeMany(world: World, count: number): Promise<Slice[]> {
  await makeEmpty(world, count);
  const db = await world.primary.db();
  const { slices } = await listSlices(db, everything);
  await db.transaction(async (tx) => {
    for (const slice of slices) await replaceGrain(tx, slice, 0);
  });
  return slices;
}

/** Replaces the one grain of a slice. */
export async function change(primary: Party, slice: Slice): Promise<void> {
  await (await primary.db()).transaction((tx) => replaceGrain(tx, slice, 1));
}

async function replaceGrain(tx: Session, slice: Slice, edition: number): Promise<void> {
  await payloads.clear(tx, slice.contentKey);
  const payload = Buffer.from(`${slice.name} ${edition}`.padEnd(200));
  await payloads.put(tx, slice.contentKey, [
    { id: randomUUID(), key: "level-1", source: "bench", encoding: "raw", payload },
  ]);
  await refreshSlice(tx, slice);
}
