/** Logs of a million entries cost nothing: no command, and no request, looks at more of them than it shows. */
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { asOwner } from "../bench/world.ts";
import { addLines, makePair, offer, type Party } from "./parties.ts";

t.setTimeout(600_000);

const entries = 1_000_000;

/** A million activities, a tenth of them failures, and runs; as if they had come in 399 days. */
async function grow(party: Party): Promise<void> {
  const id = (kind: string) => `('${kind}0000000-0000-4000-a000-' || lpad(to_hex(i), 12, '0'))::uuid`;
  const at = "now() - (($1::int - i) * 399.0 / $1::int) * interval '1 day'";
  const company = "(SELECT id FROM companies WHERE id <> (SELECT server_id FROM server))";
  await asOwner(party.database.url, (owner) =>
    owner.transaction(async (tx) => {
      await tx.run("SET LOCAL session_replication_role = replica"); // no look at the company for each of them
      await tx.run(
        `INSERT INTO activity (id, company_id, run_id, slice_id, outcome, created_at)
         SELECT ${id("1")}, ${company}, ${id("2")}, ${id("3")}, CASE WHEN i % 10 = 0 THEN 'failed' ELSE 'updated' END, ${at}
         FROM generate_series(1, $1::int) AS i`,
        [entries],
      );
      if (party.role === "primary") return;
      await tx.run(
        `INSERT INTO sync_runs (id, company_id, started_at, finished_at, exit_code)
         SELECT ${id("4")}, ${company}, ${at}, ${at}, 0 FROM generate_series(1, $1::int) AS i`,
        [entries],
      );
    }),
  );
}

/** Rows of the logs, and entries of their indexes, that anybody has looked at so far. */
async function looks(party: Party): Promise<number> {
  await sleep(1500); // a server process tells its figures once a second
  return asOwner(party.database.url, async (owner) => {
    const logs = "relname IN ('activity', 'sync_runs')";
    const row = await owner.one<{ n: number }>(
      `SELECT ((SELECT sum(seq_tup_read) FROM pg_stat_user_tables WHERE ${logs}) + (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes WHERE ${logs}))::float8 AS n`,
    );
    return row!.n;
  });
}

t.test("a million entries", async (t) => {
  const { primary, secondary } = await makePair(t);
  await offer(primary, "parts", "aces-items", secondary);
  await primary.batch("parts", addLines(0, 100));
  await secondary.ok(["sync"]);
  await primary.ok(["user", "add", "root", "--role", "super-admin"], { input: "a long password\n" });
  await Promise.all([grow(primary), grow(secondary)]);

  const answer = async (path: string, init: RequestInit = {}) =>
    (await (await fetch(`${primary.server!.url}/v1${path}`, init)).json()) as Record<string, unknown>;
  const { token } = await answer("/login", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ username: "root", password: "a long password" }),
  });
  const page = (query: string) => answer(`/activity${query}`, { headers: { authorization: `Bearer ${token}` } });

  await page(""); // those of long ago are counted once an hour
  await sleep(1500);
  await page("");
  const before = [await looks(primary), await looks(secondary)] as const;
  await primary.batch("parts", addLines(100, 1));
  await secondary.ok(["sync"]);
  await secondary.ok(["sync"]);
  for (const party of [primary, secondary]) {
    t.equal(JSON.parse(await party.ok(["activity", "--json"])).length, 100);
    t.equal(
      JSON.parse(await party.ok(["activity", "--company", party === primary ? "Epicor" : "ABC Brakes", "--json"]))
        .length,
      100,
    );
    t.match(JSON.parse(await party.ok(["company", "list", "--status", "--json"])), [
      { state: party === primary ? "current" : "ok" },
    ]);
  }
  for (let n = 0; n < 3; n++) {
    const { data, paging } = (await page("?limit=10")) as { data: unknown[]; paging: { items_total: number } };
    t.equal(data.length, 10);
    t.equal(paging.items_total, entries + 2, "every one counts, the newest too");
  }
  const after = [await looks(primary), await looks(secondary)] as const;
  t.ok(after[0] - before[0] < 2000, `the primary looked at ${after[0] - before[0]}`);
  t.ok(after[1] - before[1] < 2000, `the secondary looked at ${after[1] - before[1]}`);
});
