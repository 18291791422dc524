/** Several partners and primaries at once, and rehearsals. */
import t from "tap";
import { addLines, events, introduce, makePair, offer, Party, subscribe } from "./parties.ts";

t.setTimeout(180_000);

t.test("several partners and runs at once", async (t) => {
  const primary = await Party.make(t, "primary", "ABC Brakes");
  await primary.serve();
  const secondaries: Party[] = [];
  await primary.ok(["slice", "add", "parts", "--type", "aces-items"]);
  await primary.batch("parts", addLines(0, 2000));
  for (const name of ["Epicor", "AutoZone"]) {
    const secondary = await Party.make(t, "secondary", name);
    await introduce(primary, secondary);
    await subscribe(primary, "parts", secondary);
    secondaries.push(secondary);
  }
  const runs = await Promise.all(secondaries.map((secondary) => secondary.run(["sync"])));
  t.same(
    runs.map((run) => run.code),
    [0, 0],
  );
  for (const secondary of secondaries)
    t.same(Object.values(await secondary.content()), Object.values(await primary.content()));
  const activity = JSON.parse(await primary.ok(["activity", "--json"])) as { company: string }[];
  t.same(activity.map((row) => row.company).sort(), ["AutoZone", "Epicor"], "each under its own name");
});

t.test("one broken partner of five does not stop the others", async (t) => {
  const secondary = await Party.make(t, "secondary", "Epicor");
  const primaries: Party[] = [];
  for (let n = 0; n < 5; n++) {
    const primary = await Party.make(t, "primary", `Primary ${n}`);
    await primary.serve();
    await introduce(primary, secondary);
    await offer(primary, `parts-${n}`, "aces-items", secondary);
    await primary.batch(`parts-${n}`, addLines(0, 5));
    primaries.push(primary);
  }
  await primaries[2]!.server!.kill9();
  const run = await secondary.run(["sync", "--json", "--retry-for", "0"]);
  t.equal(run.code, 3);
  t.match(events(run.stdout).at(-1), { partners: 5, updated: 4 });
  t.same(Object.keys(await secondary.content()).length, 4);
});

t.test("--noupdate changes nothing here, predicts the real run, and is a test at the primary", async (t) => {
  const { primary, secondary } = await makePair(t);
  for (const name of ["a", "b", "c"]) await offer(primary, name, "aces-items", secondary);
  await primary.batch("a", addLines(0, 30));
  await secondary.ok(["sync", "--sub", await companyId(secondary)]);
  await primary.batch("a", [{ delete_key: "part 3" }, { delete_key: "part 4" }, ...addLines(50, 7)]);
  await primary.batch("b", addLines(0, 11));
  await primary.ok(["slice", "lock", "c"]);
  await offer(primary, "d", "aces-items", secondary);
  await primary.batch("d", addLines(0, 4));

  const before = await secondary.dump();
  const rehearsal = await secondary.run(["sync", "--noupdate", "--json", "--retry-for", "0"]);
  t.equal(await secondary.dump(), before, "the database is identical");
  const real = await secondary.run(["sync", "--json", "--retry-for", "0"]);
  t.equal(rehearsal.code, real.code);
  const figures = (stdout: string) => {
    const { unchanged, updated, deferred, failed, grains_added, grains_removed } = events(stdout).at(-1);
    return { unchanged, updated, deferred, failed, grains_added, grains_removed };
  };
  t.same(figures(rehearsal.stdout), figures(real.stdout));
  t.match(figures(real.stdout), { updated: 3, deferred: 1, grains_added: 7 + 11 + 4, grains_removed: 2 });
  const activity = JSON.parse(await primary.ok(["activity", "--json"])) as { test: boolean; outcome: string }[];
  t.equal(activity.filter((row) => row.test && row.outcome === "would-update").length, 3);
});

async function companyId(secondary: Party): Promise<string> {
  const row = await (await secondary.db()).one<{ id: string }>("SELECT id FROM companies WHERE sync_addr IS NOT NULL");
  return row!.id;
}

t.test("a slice that is published anew while it is transferred arrives whole, the new one", async (t) => {
  const { primary, secondary } = await makePair(t);
  await offer(primary, "parts", "aces-items", secondary);
  const noise = (seed: number) => {
    const bytes = Buffer.alloc(2000);
    for (let i = 0, x = seed + 1; i < bytes.length; i++) {
      x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
      bytes[i] = x >>> 24;
    }
    return bytes.toString("base64");
  };
  const lines = (from: number, n: number) =>
    Array.from({ length: n }, (_, i) => ({
      add: { grain_key: `part ${from + i}`, source: "", encoding: "b64" as const, payload: noise(from + i) },
    }));
  await primary.batch("parts", lines(0, 10_000));
  const failpoint = new URL("../harness/failpoint.js", import.meta.url).href;
  const run = secondary.start(["sync", "--json"], {
    nodeArgs: ["--import", failpoint],
    env: { SP_FP: "s.stage:2:sleep:3000" },
  });
  const db = await secondary.db();
  while ((await db.query("SELECT 1 FROM staging")).length === 0)
    await new Promise((resolve) => setTimeout(resolve, 20));
  await primary.batch("parts", [{ delete_key: "part 7" }, ...lines(10_000, 3)]);
  t.equal((await run.exited).code, 0, run.stderr());
  t.match(events(run.stdout()).at(-1), { updated: 1 });
  t.same(await secondary.content(), await primary.content());
  t.equal(await secondary.staged(), 0);

  // And one whose right is withdrawn in the middle.
  await primary.batch("parts", [{ delete_all: true }, ...lines(20_000, 10_000)]);
  const before = await secondary.content();
  const denied = secondary.start(["sync", "--json"], {
    nodeArgs: ["--import", failpoint],
    env: { SP_FP: "s.stage:2:sleep:3000" },
  });
  while ((await db.query("SELECT 1 FROM staging")).length === 0)
    await new Promise((resolve) => setTimeout(resolve, 20));
  await (await primary.db()).run("UPDATE subscriptions SET active = false");
  t.equal((await denied.exited).code, 6, denied.stdout());
  t.same(await secondary.content(), before);
});
