/**
 * Statements find their rows by index, in the order in which they are wanted, whether or not anybody has ever analyzed the tables: all
 * that a publication, a sync, the lists and the status ask on both sides is explained here, with rows in random order.
 */
import { randomUUID } from "node:crypto";
import t from "tap";
import { listPartnerFacts, listPrimaryFacts } from "../../src/activity/status-store.ts";
import type { App } from "../../src/app.ts";
import { readServer, requireCompany } from "../../src/companies/company-store.ts";
import { startDaemon } from "../../src/daemon/daemon.ts";
import { type Database, openDatabase } from "../../src/database/database.ts";
import { everything, type Scope } from "../../src/database/scope.ts";
import type { CompanyId } from "../../src/ids.ts";
import { createLogger } from "../../src/log.ts";
import { applyBatch } from "../../src/slices/batch.ts";
import {
  findGrain,
  findGrainByKey,
  listGrains,
  listGrainsAfter,
  readGrainsAfter,
} from "../../src/slices/grain-store.ts";
import { payloads } from "../../src/slices/payloads/payloads.ts";
import { refreshSlice } from "../../src/slices/refresh.ts";
import { findSlice, listSlices, requireSlice } from "../../src/slices/slice-store.ts";
import { listSubscriptions } from "../../src/subscriptions/subscription-store.ts";
import { plainRun } from "../../src/sync/protocol/run-options.ts";
import { runPartner } from "../../src/sync/run/run-partner.ts";
import { asOwner } from "../bench/world.ts";
import { explained, nodesOf, type PlanNode } from "../harness/explained.ts";
import { addLines, introduce, Party } from "./parties.ts";

t.setTimeout(240_000);

const grainTables = ["grain_rows", "grain_chunks"];
/** It has one row; and what is written down of syncs has rules of its own. */
const elsewhere = ["server", "activity", "sync_runs"];
/** So many that it matters. */
const large = 20_000;
const slices = 40;
const partners = 20;

/** What is wrong with a plan. */
function faults(plan: PlanNode): string[] {
  const found: string[] = [];
  for (const node of nodesOf(plan)) {
    const { "Node Type": type, "Relation Name": table = "", "Actual Loops": loops } = node;
    const vain = (node["Rows Removed by Filter"] ?? 0) * loops;
    if (/Scan$/.test(type) && !elsewhere.includes(table)) {
      // Who wants all rows may take them as they lie.
      if (type === "Bitmap Heap Scan" || (type === "Seq Scan" && (vain > 0 || loops > 1)))
        found.push(`${type} of ${table}`);
      if (vain > 50) found.push(`${vain} rows of ${table} looked at in vain`);
      if (grainTables.includes(table) && !/content_key = /.test(node["Index Cond"] ?? ""))
        found.push(`${table} is read by ${node["Index Name"]} with ${node["Index Cond"]}`);
    }
    const sorted = [...nodesOf(node)].some((part) => grainTables.includes(part["Relation Name"] ?? ""));
    if (type === "Sort" && sorted && node["Actual Rows"] * loops > 1000) found.push("a slice is sorted");
  }
  return found;
}

/** Many slices and partners; two slices of many grains, in random order of their ids. */
async function fill(db: Database, company: CompanyId, us: CompanyId): Promise<void> {
  await db.run(
    `INSERT INTO companies (id, name, name_key) SELECT gen_random_uuid(), 'partner ' || n, 'partner ' || n FROM generate_series(1, ${partners}) n`,
  );
  await db.run(
    `INSERT INTO slices (company_id, id, name, name_key, slice_type) SELECT $1, gen_random_uuid(), 'slice ' || n, 'slice ' || n, 'aces-items' FROM generate_series(1, ${slices}) n`,
    [us],
  );
  await db.run(
    `INSERT INTO subscriptions (company_id, id, slice_key, name, name_key)
     SELECT c.id, gen_random_uuid(), s.slice_key, c.name || ' ' || s.name, c.name || ' ' || s.name FROM slices s, companies c WHERE c.name LIKE 'partner %' OR c.id = $1 ORDER BY random()`,
    [company],
  );
  await db.run(
    `INSERT INTO grains (content_key, id, grain_key, source, encoding, payload_bytes, payload)
     SELECT s.content_key, gen_random_uuid(), 'part ' || n, '', 'raw', 5, 'hello' FROM slices s, generate_series(1, ${large}) n
     WHERE n <= CASE WHEN s.name IN ('slice 1', 'slice 2') THEN ${large} ELSE 5 END ORDER BY random()`,
  );
  const all = await listSlices(db, everything);
  await db.transaction(async (tx) => {
    for (const slice of all.slices) await refreshSlice(tx, slice);
  });
}

const analyzed = {
  never: async () => {},
  "when it was empty": (db: Database) => db.run("ANALYZE"),
  "with a row in each table": (db: Database) => db.run("ANALYZE"),
  "as it is": (db: Database) => db.run("ANALYZE"),
};

for (const [state, analyze] of Object.entries(analyzed)) {
  t.test(`analyzed: ${state}`, async (t) => {
    const primary = await Party.make(t, "primary", "ABC Brakes");
    const secondary = await Party.make(t, "secondary", "Epicor");
    const owned = (party: Party, work: (owner: Database) => Promise<unknown>) => asOwner(party.database.url, work);
    for (const party of [primary, secondary])
      await owned(party, (owner) =>
        owner.run(`DO $$ DECLARE name text; BEGIN FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'grains' LOOP
          EXECUTE format('ALTER TABLE %I SET (autovacuum_enabled = false)', name); END LOOP; END $$`),
      );

    const wrong = new Map<string, string[]>();
    let statements = 0;
    const open = async (party: Party): Promise<App> => {
      const config = party.config({ SANDPIPER_DATABASE_URL: party.database.url, SANDPIPER_SERVER_PORT: "0" });
      const real = await openDatabase(config, { name: "explained" });
      t.teardown(() => real.close());
      const db = explained(real, (text, plan) => {
        statements++;
        const found = faults(plan);
        if (found.length > 0) wrong.set(text.replace(/\s+/g, " "), found);
      });
      return { config, db, server: await readServer(db), log: createLogger("silent") };
    };
    const here = await open(primary);
    const there = await open(secondary);
    const server = await startDaemon(here);
    t.teardown(() => server.stop(AbortSignal.abort()));
    primary.server = { url: server.url, kill9: async () => {} } as never;
    await introduce(primary, secondary);
    const company = (await requireCompany(await primary.db(), "Epicor")).id;

    const db = await primary.db();
    if (state === "with a row in each table") {
      // One slice with one grain, gone again when the others come.
      await primary.ok(["slice", "add", "first", "--type", "aces-items"]);
      await primary.batch("first", addLines(0, 1));
      await owned(primary, analyze);
    }
    if (state === "when it was empty") for (const party of [primary, secondary]) await owned(party, analyze);
    await fill(db, company, here.server.serverId);
    if (state === "as it is") await owned(primary, analyze);

    const sync = async () => {
      const primaryHere = await requireCompany(there.db, "ABC Brakes");
      const order = { runId: randomUUID(), options: { ...plainRun, allowDrops: true } };
      const report = await runPartner(there, primaryHere, order);
      t.equal(report.exitCode, 0, report.error?.message ?? JSON.stringify(report.results.find(({ error }) => error)));
      t.same(await secondary.content(), await primary.content());
    };
    await sync();
    if (state === "as it is") await owned(secondary, analyze);
    // Small differences by list, larger ones by coded symbols.
    for (const name of ["slice 1", "slice 7"]) {
      const slice = await requireSlice(here.db, name);
      await applyBatch(here.db, slice, [{ delete_key: "part 3" }, ...addLines(90_000, 3)], 2 ** 20);
    }
    await sync();
    await sync();

    const partner: Scope = { company };
    const slice = await requireSlice(here.db, "slice 1");
    for (const [scope, scoped] of [
      [everything, here.db],
      [partner, here.db.as(partner)],
    ] as const) {
      await listSlices(scoped, scope, { limit: 10, offset: 10 });
      await findSlice(scoped, scope, slice.id);
      await listSubscriptions(scoped, scope, {}, { limit: 10, offset: 0 });
      const page = await readGrainsAfter(scoped, scope, slice);
      t.ok(page.length >= 100);
      await listGrainsAfter(scoped, scope, slice.contentKey, page.at(-1)!.id);
      await listGrains(scoped, scope, slice.key, { limit: 10, offset: 10 });
      t.equal((await findGrain(scoped, scope, page[7]!.id))?.id, page[7]!.id);
      t.equal((await findGrainByKey(scoped, scope, slice.key, page[7]!.key))?.id, page[7]!.id);
      await payloads.hasOver(scoped, slice.contentKey, 2 ** 24);
    }
    await listPartnerFacts(here.db);
    await listPrimaryFacts(there.db);
    await requireSlice(here.db, slice.name);

    t.ok(statements > 150, `${statements} statements were explained`);
    for (const [text, found] of wrong) t.fail(`${[...new Set(found)].join(", ")}: ${text}`);
  });
}
