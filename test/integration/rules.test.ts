/** Every rule of subscriptions, with the real command against real servers. */
import t from "tap";
import { addLines, events, makePair, offer, type Party } from "./parties.ts";

t.setTimeout(180_000);

const subscriptions = async (party: Party) =>
  (await party.db()).query<{ name: string; active: boolean; withdrawn: boolean; company: string }>(
    "SELECT u.name, u.active, u.withdrawn_at IS NOT NULL AS withdrawn, c.name AS company FROM subscriptions u JOIN companies c ON c.id = u.company_id ORDER BY u.name_key",
  );

t.test("rules of subscriptions", async (t) => {
  const { primary, secondary } = await makePair(t);
  for (const name of ["a", "b", "c", "d"]) {
    await offer(primary, name, "aces-items", secondary);
    await primary.batch(name, addLines(0, 10));
  }
  const sync = (...args: string[]) => secondary.run(["sync", "--json", ...args]);
  const codeOf = async (...args: string[]) => (await sync(...args)).code;

  t.equal(await codeOf(), 0);
  t.same(
    await subscriptions(secondary),
    ["a", "b", "c", "d"].map((name) => ({
      name: `${name}-Epicor`,
      active: true,
      withdrawn: false,
      company: "ABC Brakes",
    })),
    "new ones are added, with the company swapped",
  );
  t.same(await secondary.content(), await primary.content());

  await t.test("switched off here: not tried, and the primary does not learn of it", async (t) => {
    await secondary.ok(["subscription", "deactivate", "A-EPICOR"]);
    await primary.batch("a", addLines(10, 1));
    const run = await sync();
    t.equal(run.code, 0);
    t.match(events(run.stdout).at(-1), { unchanged: 3, updated: 0 });
    t.equal((await subscriptions(primary))[0]!.active, true);
    const named = await sync("--sub", "a-epicor");
    t.equal(named.code, 2);
    t.match(named.stderr, "switched off here");
    await secondary.ok(["subscription", "activate", "a-epicor"]);
    t.match(events((await sync("--sub", "A-Epicor")).stdout).at(-1), { unchanged: 0, updated: 1, exit_code: 0 });
  });

  await t.test(
    "switched off there: switched off here, logged, exit 6 once; on there changes nothing here",
    async (t) => {
      await primary.ok(["subscription", "deactivate", "b-Epicor"]);
      const run = await secondary.run(["sync"]);
      t.equal(run.code, 6);
      t.match(run.stderr, "subscription b-Epicor was switched off by the primary");
      t.equal((await subscriptions(secondary))[1]!.active, false);
      t.equal(await codeOf(), 0);
      await primary.ok(["subscription", "activate", "b-Epicor"]);
      t.equal(await codeOf(), 0);
      t.equal((await subscriptions(secondary))[1]!.active, false);
      await secondary.ok(["subscription", "activate", "b-Epicor"]);
      t.match(events((await sync()).stdout).at(-1), { unchanged: 4, exit_code: 0 });
    },
  );

  await t.test("locked there: deferred, the old content whole, the others done", async (t) => {
    const before = await secondary.content();
    await primary.ok(["slice", "lock", "c"]);
    await primary.batch("c", addLines(20, 5));
    const run = await sync("--retry-for", "0");
    t.equal(run.code, 7);
    t.match(events(run.stdout).at(-1), { deferred: 1, unchanged: 3 });
    t.match(JSON.parse(await secondary.ok(["activity", "--json"]))[0], { outcome: "deferred", slice: "c" });
    t.same(await secondary.content(), before);
    await primary.ok(["slice", "unlock", "c"]);
    t.equal(await codeOf(), 0);
    t.same(await secondary.content(), await primary.content());
  });

  await t.test("gone there: marked withdrawn, data kept, exit 6 once; back: cleared", async (t) => {
    const before = await secondary.content();
    await primary.ok(["subscription", "remove", "d-Epicor", ...(await noPrompt(primary))]);
    const run = await secondary.run(["sync"]);
    t.equal(run.code, 6);
    t.match(run.stderr, "subscription d-Epicor was withdrawn by the primary; its data is kept");
    t.match((await subscriptions(secondary))[3], { withdrawn: true, active: true });
    t.same(await secondary.content(), before);
    t.match(JSON.parse(await secondary.ok(["activity", "--json"]))[0], { outcome: "withdrawn", slice: "d" });
    t.equal(await codeOf(), 0);
  });

  await t.test("more than half gone at once: nothing is marked, exit 11", async (t) => {
    for (const name of ["a", "b"])
      await primary.ok(["subscription", "remove", `${name}-Epicor`, ...(await noPrompt(primary))]);
    const run = await secondary.run(["sync"]);
    t.equal(run.code, 11);
    t.match(run.stderr, "2 of 3 subscriptions disappeared");
    t.same(
      (await subscriptions(secondary)).map((row) => row.withdrawn),
      [false, false, false, true],
    );
    t.equal(await codeOf("--allow-drops"), 6);
    t.same(
      (await subscriptions(secondary)).map((row) => row.withdrawn),
      [true, true, false, true],
    );
  });

  await t.test("a company that is switched off, here and there", async (t) => {
    await secondary.ok(["company", "deactivate", "abc brakes"]);
    const none = await sync();
    t.equal(none.code, 2);
    t.match(none.stderr, "no active primary");
    await secondary.ok(["company", "activate", "ABC Brakes"]);
    await primary.ok(["company", "deactivate", "Epicor"]);
    const run = await secondary.run(["sync"]);
    t.equal(run.code, 5);
    await primary.ok(["company", "activate", "Epicor"]);
    t.equal(await codeOf(), 0);
  });

  await t.test("an API key is changed without a gap", async (t) => {
    const { api_key: next } = JSON.parse(await primary.ok(["company", "rekey", "Epicor", "--json"]));
    t.equal(await codeOf(), 0, "the old key still works");
    await secondary.ok(["company", "rekey", "ABC Brakes", "--api-key-file", "-"], { input: next });
    t.equal(await codeOf(), 0);
    const db = await primary.db();
    t.same(await db.query("SELECT count(*) AS n FROM api_keys"), [{ n: 1 }], "the old one is gone");
  });
});

/** How `subscription remove` is told not to ask, if it has to be. */
async function noPrompt(party: Party): Promise<string[]> {
  return (await party.ok(["subscription", "remove", "--help"])).includes("--noprompt") ? ["--noprompt"] : [];
}
