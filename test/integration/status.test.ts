/** `company list --status`, on both sides of a real pair. */
import t from "tap";
import { addLines, introduce, makePair, offer, Party, subscribe } from "./parties.ts";

t.setTimeout(180_000);

type Status = Record<string, string | number | null>;
const statuses = async (party: Party): Promise<Status[]> =>
  JSON.parse(await party.ok(["company", "list", "--status", "--json"]));
const status = async (party: Party) => (await statuses(party))[0]!;
const ms = (time: string | number | null | undefined) => Date.parse(String(time));

t.test("one partner, through good and bad days", async (t) => {
  const { primary, secondary } = await makePair(t);
  const sync = async (...args: string[]) => (await secondary.run(["sync", "--retry-for", "0", ...args])).code;

  t.match(await status(primary), { name: "Epicor", state: "no subscriptions", slices: 0, current: 0, since: null });
  t.match(await status(secondary), { name: "ABC Brakes", state: "never synced", last_run: null, exit_code: null });

  for (const name of ["pads", "rotors"]) {
    await offer(primary, name, "aces-items", secondary);
    await primary.batch(name, addLines(0, 20));
  }
  const never = await status(primary);
  t.match(never, { state: "never synced", slices: 2, current: 0, last_contact: null, last_success: null });
  t.match(never.since, /Z$/, "since when there is something to fetch");

  await t.test("a rehearsal is a contact, and nothing else", async (t) => {
    t.equal(await sync("--noupdate"), 0);
    const after = await status(primary);
    t.match(after, { state: "never synced", current: 0, last_success: null, last_error: null });
    t.match(after.last_contact, /Z$/);
    t.match(await status(secondary), { state: "never synced", last_run: null });
  });

  t.equal(await sync(), 0);
  const current = await status(primary);
  t.match(current, { state: "current", slices: 2, current: 2, last_error: null });
  t.equal(current.since, current.last_success, "since the last slice arrived");
  t.match(await status(secondary), { state: "ok", exit_code: 0, last_error: null, last_error_at: null });

  await t.test("behind since what it lacks was published", async (t) => {
    await primary.batch("pads", addLines(20, 1));
    const behind = await status(primary);
    t.match(behind, { state: "behind", slices: 2, current: 1, last_error: null, last_success: current.last_success });
    const published = JSON.parse(await primary.ok(["list", "--slice", "pads", "--json"]))[0];
    t.equal(behind.since, published.date);
    t.ok(ms(behind.since) > ms(current.since));
    t.equal(await sync(), 0);
    const again = await status(primary);
    t.match(again, { state: "current", current: 2 });
    t.ok(ms(again.since) > ms(behind.since));
    t.equal(await sync(), 0, "nothing new");
    const idle = await status(primary);
    t.equal(idle.since, again.since);
    t.ok(ms(idle.last_contact) > ms(again.last_contact), "a login is a contact");
  });

  await t.test("an error is shown until its slice has arrived, whatever else succeeds", async (t) => {
    const db = await primary.db();
    await primary.batch("pads", [{ delete_all: true }]);
    await primary.batch("rotors", addLines(20, 1));
    t.equal(await sync(), 11, "the safety stop");
    const failed = await status(primary);
    t.match(failed, { state: "behind", current: 1, last_error: "failed pads: limit" });
    t.ok(ms(failed.last_error_at) > ms(failed.since));
    const here = await status(secondary);
    t.match(here, { state: "failed", exit_code: 11, last_error: /^failed pads: slice pads would go from/ });
    t.ok(ms(here.last_run) > ms(here.last_success));
    t.equal(await sync("--noupdate"), 11);
    t.equal((await status(primary)).last_error_at, failed.last_error_at, "that of the rehearsal does not count");

    const key = (await db.one<{ id: string }>("SELECT id FROM subscriptions WHERE name = 'pads-Epicor'"))!.id;
    await primary.ok(["subscription", "deactivate", key]);
    t.match(await status(primary), { state: "current", slices: 1, current: 1, last_error: null }, "not due any more");
    await primary.ok(["subscription", "activate", key]);
    t.match(await status(primary), { state: "behind", slices: 2, last_error: "failed pads: limit" });
    t.equal(await sync("--allow-drops"), 0);
    t.match(await status(primary), { state: "current", current: 2, last_error: null, last_error_at: null });
    t.match(await status(secondary), { state: "ok", last_error: null });
  });

  await t.test("a locked slice that the partner has already is no error", async (t) => {
    await primary.ok(["slice", "lock", "rotors"]);
    t.equal(await sync(), 7);
    t.match(await status(primary), { state: "current", last_error: null });
    t.match(await status(secondary), { state: "failed", exit_code: 7, last_error: /^deferred rotors: / });
    await primary.batch("rotors", addLines(21, 1));
    t.match(await status(primary), { state: "behind", last_error: "deferred rotors: deferred" });
    await primary.ok(["slice", "unlock", "rotors"]);
    t.equal(await sync(), 0);
    t.match(await status(primary), { state: "current", last_error: null });
  });

  await t.test("a run that did not come as far as slices", async (t) => {
    await primary.ok(["company", "deactivate", "Epicor"]);
    t.equal(await sync(), 5);
    t.match(await status(primary), { state: "inactive", slices: 2 });
    const here = await status(secondary);
    t.match(here, { state: "failed", exit_code: 5, last_error: "exit code 5" });
    t.ok(ms(here.last_error_at) >= ms(here.last_run));
    await primary.ok(["company", "activate", "Epicor"]);
    await secondary.ok(["company", "deactivate", "ABC Brakes"]);
    t.match(await status(secondary), { state: "inactive" });
  });
});

t.test("trouble first, one line each", async (t) => {
  const { primary, secondary } = await makePair(t);
  const others = [];
  for (const name of ["Aa inactive", "Bb nothing", "Cc never"]) {
    const other = await Party.make(t, "secondary", name);
    await introduce(primary, other);
    others.push(other);
  }
  await offer(primary, "pads", "aces-items", secondary);
  for (const i of [0, 2]) await subscribe(primary, "pads", others[i]!);
  await primary.batch("pads", addLines(0, 20));
  await secondary.ok(["sync"]);
  await primary.ok(["company", "deactivate", "Aa inactive"]);
  const states = async () => (await statuses(primary)).map(({ name, state }) => [name, state]);
  const rest = [
    ["Bb nothing", "no subscriptions"],
    ["Epicor", "current"],
    ["Aa inactive", "inactive"],
  ];
  t.same(await states(), [["Cc never", "never synced"], ...rest]);
  const lines = (await primary.ok(["company", "list", "--status"])).split("\n");
  t.match(lines[0], /^Cc never\tnever synced\t0\t1\t\S+Z\t\t\t\t$/);
  t.match(lines[2], /^Epicor\tcurrent\t1\t1\t\S+Z\t\S+Z\t\S+Z\t\t$/);

  await primary.batch("pads", [{ delete_all: true }]);
  t.equal((await secondary.run(["sync"])).code, 11);
  t.same((await states()).slice(0, 2), [
    ["Epicor", "behind"],
    ["Cc never", "never synced"],
  ]);
});
