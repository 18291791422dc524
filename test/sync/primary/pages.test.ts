/** What a primary reads of a slice at once: bounded by what the grains weigh, whichever are chosen, and found by the index. */
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { addCompany } from "../../../src/companies/company-store.ts";
import type { Database } from "../../../src/database/database.ts";
import { uuidBytes } from "../../../src/ids.ts";
import { refreshSlice } from "../../../src/slices/refresh.ts";
import { lastIdOf } from "../../../src/slices/rules/records.ts";
import { chunkBytes, type Slice } from "../../../src/slices/rules/slice.ts";
import { addSubscription } from "../../../src/subscriptions/subscription-store.ts";
import { readGrains } from "../../../src/sync/primary/primary-store.ts";
import { readRecords } from "../../../src/sync/protocol/frames.ts";
import { openTestDatabase } from "../../harness/open-database.ts";

/** A partner's view of a slice with these grains, whose ids come in no order. Nothing is analyzed. */
async function offered(test: { teardown(work: () => Promise<void>): unknown }, grains: string, ...values: unknown[]) {
  const { db, slice } = await openTestDatabase(test);
  const made = await slice("skewed", "asset-files");
  const { id } = await addCompany(db, { id: randomUUID(), name: "Epicor" });
  await addSubscription(db, { companyId: id, sliceKey: made.key, name: "skewed for Epicor" });
  await db.transaction(async (tx) => {
    await tx.run(
      `INSERT INTO grains (content_key, id, grain_key, source, encoding, payload_bytes, payload)
       SELECT $1::bigint, id, key, source, 'raw', octet_length(payload), payload FROM (${grains}) made`,
      [made.contentKey, ...values],
    );
    await refreshSlice(tx, made);
  });
  return { db, own: db.as({ company: id }), scope: { company: id }, slice: made };
}

type Offered = Awaited<ReturnType<typeof offered>>;

/** All pages of a slice, or of some of its grains: how many grains each has, and how many bytes. */
async function pages({ own, scope, slice }: Offered, wanted: Buffer | null) {
  const read: { grains: number; bytes: number }[] = [];
  const ids: string[] = [];
  for (let after: Buffer | null = null; ; ) {
    const { data } = await readGrains(own, scope, slice.id, after, wanted);
    after = lastIdOf(data);
    if (after === null) return { read, ids };
    read.push({ grains: data.ends.length, bytes: data.bytes.length });
    for (const { idAt } of readRecords({ body: data.bytes, entries: data.ends.length }))
      ids.push(data.bytes.toString("hex", idAt, idAt + 16));
  }
}

const idsOf = async (db: Database, { contentKey }: Slice, condition: string) =>
  (
    await db.query<{ id: string }>(`SELECT id FROM grains WHERE content_key = $1 AND ${condition} ORDER BY id`, [
      contentKey,
    ])
  ).map(({ id }) => uuidBytes(id));

t.test("a page of the large grains of a slice of small ones is no larger than any other", async (t) => {
  const world = await offered(
    t,
    `SELECT gen_random_uuid() AS id, 'part ' || n AS key, '' AS source, '\\x010203'::bytea AS payload FROM generate_series(1, 60000) n
     UNION ALL SELECT gen_random_uuid(), 'picture ' || n, '', convert_to(repeat('x', 1048576), 'UTF8') FROM generate_series(1, 24) n`,
  );
  const large = await idsOf(world.db, world.slice, "payload_bytes > 3");
  for (const wanted of [Buffer.concat(large), null]) {
    const { read, ids } = await pages(world, wanted);
    t.same(ids, [...new Set(ids)].sort(), "each grain once, in order of id");
    t.equal(ids.length, wanted === null ? 60_024 : 24);
    const most = Math.max(...read.map(({ bytes }) => bytes));
    t.ok(most <= 2 * chunkBytes + 4096, `${most} bytes at once`);
    t.ok(read.length <= (wanted === null ? 60 : 24), `${read.length} pages`);
  }
});

t.test("keys and sources count", async (t) => {
  const world = await offered(
    t,
    `SELECT gen_random_uuid() AS id, rpad(n::text, 1024, 'k') AS key, repeat('s', 1024) AS source, ''::bytea AS payload FROM generate_series(1, 3000) n`,
  );
  const { read, ids } = await pages(world, null);
  t.equal(ids.length, 3000);
  const most = Math.max(...read.map(({ bytes }) => bytes));
  t.ok(most <= 2 * chunkBytes + 4096, `${most} bytes at once`);
});

t.test("a slice of small grains is read once by its index, though nothing was ever analyzed", async (t) => {
  const count = 100_000;
  const world = await offered(
    t,
    `SELECT gen_random_uuid() AS id, 'part ' || n AS key, 'bench' AS source, convert_to(rpad(n::text, 100), 'UTF8') AS payload FROM generate_series(1, ${count}) n`,
  );
  const entries = async () =>
    (await world.db.one<{ n: number }>(
      "SELECT idx_tup_read AS n FROM pg_stat_user_indexes WHERE indexrelname = 'grains_pkey' AND relname = 'grain_rows'",
    ))!.n;
  const settled = async () => {
    await sleep(1500);
    await world.own.session((session) => session.run("SELECT pg_stat_force_next_flush()"));
    await sleep(100);
    return entries();
  };
  const before = await settled();
  const { read, ids } = await pages(world, null);
  t.equal(ids.length, count);
  t.ok(read.length > 5 && read.length < 20, `${read.length} pages`);
  const scanned = (await settled()) - before;
  t.ok(scanned >= count && scanned < 2 * count, `${scanned} entries of the index were read`);
});
