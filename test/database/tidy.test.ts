/** Dead rows are cleared away: when they are many, within a time, by whoever may; and `sandpiper maintain`, and `serve` once a day. */
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import type { App } from "../../src/app.ts";
import { readServer } from "../../src/companies/company-store.ts";
import { parseConfig } from "../../src/config/config.ts";
import { keepUp } from "../../src/daemon/upkeep.ts";
import { openDatabase } from "../../src/database/database.ts";
import { tidyEverything, tidyWhatChanged } from "../../src/database/tidy.ts";
import { createLogger } from "../../src/log.ts";
import { asOwner } from "../bench/world.ts";
import { sandbox } from "../cli/sandbox.ts";
import { createTestDatabase } from "../harness/test-database.ts";

t.setTimeout(120_000);

const inTime = { limitMs: 60_000, signal: new AbortController().signal };

/** Fills grain_chunks, whose values are long, and deletes all again: few rows, and many pages. */
const churn = (url: string) =>
  asOwner(url, async (owner) => {
    await owner.run(
      `INSERT INTO grain_chunks SELECT 1, gen_random_uuid(), i, string_agg(sha256((i || '/' || j)::bytea), '')
       FROM generate_series(1, 10) i, generate_series(1, 20000) j GROUP BY i`,
    );
    await owner.run("DELETE FROM grain_chunks");
  });

async function until(done: () => Promise<boolean>): Promise<boolean> {
  for (let i = 0; i < 100; i++) {
    if (await done()) return true;
    await sleep(100);
  }
  return false;
}

t.test("what changed much", async (t) => {
  const { url } = await createTestDatabase("tidy");
  await churn(url);
  await asOwner(url, async (owner) => {
    const size = async () => (await owner.one<{ n: number }>("SELECT pg_total_relation_size('grain_chunks') AS n"))!.n;
    const full = await size();
    t.ok(full > 6_000_000);
    t.same(await tidyWhatChanged(owner, { ...inTime, limitMs: 0 }), [], "no time, no work");
    t.same(await tidyWhatChanged(owner, { ...inTime, signal: AbortSignal.abort() }), []);
    const tidied = await tidyWhatChanged(owner, inTime);
    const chunks = tidied.find(({ table }) => table === "public.grain_chunks");
    t.equal(chunks?.bytesBefore, full);
    t.ok(chunks!.bytesAfter < 200_000, "ten rows, and their long values, which are many");
    t.notOk(
      tidied.some(({ table }) => table === "public.companies"),
      "of which nothing changed",
    );
    t.notOk(
      (await tidyWhatChanged(owner, inTime)).some(({ table }) => /^public/.test(table)),
      "nothing is left to do",
    );
    t.equal((await owner.one<{ s: string }>("SELECT current_setting('statement_timeout') AS s"))!.s, "0");
  });
});

t.test("somebody who holds a table is not waited for, and does not stop the others", async (t) => {
  const { url } = await createTestDatabase("held");
  await churn(url);
  await asOwner(url, (holder) =>
    holder.transaction(async (tx) => {
      await tx.run("LOCK TABLE grain_chunks IN SHARE UPDATE EXCLUSIVE MODE");
      await asOwner(url, async (owner) => {
        const begunMs = performance.now();
        const tidied = await tidyWhatChanged(owner, inTime);
        t.ok(performance.now() - begunMs < 8000, "less than the time that a lock is waited for");
        t.ok(
          tidied.every(
            ({ table, bytesAfter, bytesBefore }) => table !== "public.grain_chunks" || bytesAfter === bytesBefore,
          ),
        );
        await t.rejects(tidyEverything(owner, { full: true, signal: inTime.signal }), {
          code: "storage",
          message: /busy/,
        });
      });
    }),
  );
});

t.test("a signal ends it at once", async (t) => {
  const { url } = await createTestDatabase("signal");
  await churn(url);
  await asOwner(url, async (owner) => {
    const stop = new AbortController();
    await asOwner(url, (holder) =>
      holder.transaction(async (tx) => {
        await tx.run("LOCK TABLE grain_chunks IN SHARE UPDATE EXCLUSIVE MODE");
        const stopped = tidyEverything(owner, { full: false, signal: stop.signal });
        setTimeout(() => stop.abort(new Error("told to")), 300);
        await t.rejects(stopped, { message: "told to" });
      }),
    );
  });
});

t.test("sandpiper maintain", async (t) => {
  const box = await sandbox(t, "secondary");
  await churn(box.databaseUrl);
  await box.withDatabase((db) =>
    db.run(
      "INSERT INTO activity (company_id, outcome, created_at) SELECT server_id, 'failed', now() - interval '401 days' FROM server",
    ),
  );
  const said = await box.run(["maintain"]);
  t.equal(said.code, 0, said.stderr);
  t.match(said.stdout, /^public\.grain_chunks\t\d{7,}\t\d{1,6}\t\d+$/m);
  t.match(said.stderr, "older than 400 days: 1 activities, 0 runs, 0 confirmations");
  t.match(await box.json(["maintain", "--full"]), {
    forgotten: { activity: 0, runs: 0, confirmations: 0 },
    tables: [{ table: String, bytes_before: Number, bytes_after: Number, ms: Number }],
    not_allowed: [],
  });

  await t.test("with a login that owns nothing", async (t) => {
    const login = `sandpiper_test_maintain_${process.pid}`;
    const version = await asOwner(box.databaseUrl, async (owner) => {
      await owner.run(`CREATE ROLE ${login} LOGIN IN ROLE sandpiper_app`);
      return (await owner.one<{ v: number }>("SELECT current_setting('server_version_num')::int AS v"))!.v;
    });
    t.teardown(() => asOwner(box.databaseUrl, (owner) => owner.run(`DROP ROLE ${login}`)));
    const url = new URL(box.databaseUrl);
    url.username = login;
    const env = { env: { SANDPIPER_DATABASE_URL: url.toString() } };
    if (version >= 170_000) {
      await churn(box.databaseUrl);
      // What a transaction elsewhere may still see is kept, and goes the next time.
      const shrunk = /^public\.grain_chunks\t\d+\t\d{1,6}\t\d+$/m;
      t.ok(await until(async () => shrunk.test((await box.run(["maintain", "--full"], env)).stdout)));
      await asOwner(box.databaseUrl, (owner) =>
        owner.run("REVOKE MAINTAIN ON ALL TABLES IN SCHEMA public FROM sandpiper_app"),
      );
    }
    const may = await box.run(["maintain"], env);
    t.equal(may.code, 0, may.stderr);
    t.notMatch(may.stdout, /public\./);
    t.match(may.stderr, /may not vacuum public\.\w+, .*left to the database's own autovacuum/);
    const full = await box.run(["maintain", "--full"], env);
    t.match(full, { code: 2, stderr: /may not vacuum public\.\w+\n.*owner's login/ });
  });
});

t.test("serve does it once a day", async (t) => {
  const box = await sandbox(t, "primary");
  const config = parseConfig({
    flags: [],
    environment: { SANDPIPER_DATABASE_URL: box.databaseUrl },
    file: "test.yaml",
  });
  const db = await openDatabase(config);
  t.teardown(() => db.close());
  const lines: string[] = [];
  const log = createLogger("info", { write: (line: string) => void lines.push(line) });
  const app: App = { config, db, log, server: await readServer(db) };
  const stop = new AbortController();
  const old = () =>
    db.run(
      "INSERT INTO activity (company_id, outcome, created_at) SELECT server_id, 'failed', now() - interval '401 days' FROM server",
    );
  const gone = () => until(async () => (await db.query("SELECT 1 FROM activity")).length === 0);
  await churn(box.databaseUrl);
  await old();
  const kept = keepUp(app, stop.signal, { firstMs: 10, everyMs: 200 });
  t.ok(await gone(), "the first time");
  await old();
  t.ok(await gone(), "and again");
  stop.abort();
  await kept;
  const done = lines.map((line) => JSON.parse(line)).filter(({ event }) => event === "maintenance.done");
  t.match(done[0], { forgotten: { activity: 1 } });
  t.ok(done[0].tables.includes("public.grain_chunks"));
});
