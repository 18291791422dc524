/** A run that is killed in the middle of a slice, again and again: what has arrived is not asked for again, not even a part of a grain. */
import { randomBytes } from "node:crypto";
import t from "tap";
import { addLines, events, makePair, offer } from "./parties.ts";

t.setTimeout(240_000);

const failpoint = new URL("../harness/failpoint.js", import.meta.url).href;
const mb = 1024 * 1024;

t.test("small grains and large ones among them, killed after every piece", async (t) => {
  const { primary, secondary } = await makePair(t);
  await offer(primary, "parts", "aces-items", secondary);
  const sizes = [3 * mb, 2.5 * mb, 4 * mb + 1];
  const large = sizes.map((bytes, i) => ({
    add: {
      grain_key: `large ${i}`,
      source: "",
      encoding: "b64" as const,
      payload: randomBytes(bytes).toString("base64"),
    },
  }));
  const small = addLines(0, 300, 1000);
  await primary.batch("parts", [...small.slice(0, 150), ...large, ...small.slice(150)]);
  const held: number[] = [];
  let runs = 0;
  for (let code: number | null = null; code !== 0; runs++) {
    if (runs === 40) throw new Error("it does not get further");
    // A little later every time: small pieces are committed together.
    const run = await secondary.run(["sync"], {
      nodeArgs: ["--import", failpoint],
      env: { SP_FP: `s.stage:${runs + 2}:kill` },
    });
    code = run.code;
    const bytes = await (await secondary.db()).one<{ n: number }>(
      "SELECT coalesce(sum(octet_length(data)), 0)::bigint AS n FROM grain_chunks",
    );
    held.push(bytes!.n);
  }
  t.ok(runs >= 4, `killed ${runs - 1} times`);
  t.same(
    held,
    [...held].sort((a, b) => a - b),
    "what was held was kept",
  );
  t.same(await secondary.content(), await primary.content());
  t.equal(await secondary.staged(), 0);
  const digests = "SELECT count(*) AS n FROM grains WHERE digest IS NULL";
  t.same(await (await secondary.db()).query(digests), [{ n: 0 }]);
});

t.test("what is staged is fetched once", async (t) => {
  const { primary, secondary } = await makePair(t);
  await offer(primary, "parts", "aces-items", secondary);
  const payload = randomBytes(6 * mb).toString("base64");
  await primary.batch("parts", [{ add: { grain_key: "large", source: "", encoding: "b64", payload } }]);
  const kill = { nodeArgs: ["--import", failpoint], env: { SP_FP: "s.stage:6:kill" } };
  t.equal((await secondary.run(["sync"], kill)).signal, "SIGKILL");
  const run = await secondary.run(["sync", "--json"]);
  t.equal(run.code, 0, run.stderr);
  const received = events(run.stdout).at(-1)!.bytes_received as number;
  t.ok(received < 2.2 * mb, `${received} of ${6 * mb} bytes the second time`);
  t.same(await secondary.content(), await primary.content());
});

t.test("what no slice wants any more is swept", async (t) => {
  const { primary, secondary } = await makePair(t);
  await offer(primary, "parts", "aces-items", secondary);
  await offer(primary, "other", "aces-items", secondary);
  await primary.batch("other", addLines(0, 3));
  const db = await primary.db();
  const kill = { nodeArgs: ["--import", failpoint], env: { SP_FP: "s.tx.begin:1:kill" } };
  const stage = async (from: number) => {
    // More than is held in memory until it is applied.
    await primary.batch("parts", [{ delete_all: true }, ...addLines(from, 50, 2000)]);
    t.equal((await secondary.run(["sync", "--sub", "parts-Epicor"], kill)).signal, "SIGKILL");
    t.equal(await secondary.staged(), 50);
  };
  t.equal((await secondary.run(["sync"])).code, 0);

  await stage(0);
  await primary.batch("parts", [{ delete_all: true }]);
  t.equal((await secondary.run(["sync"])).code, 0);
  t.equal(await secondary.staged(), 0, "it has become what it was");

  await stage(100);
  await primary.batch("parts", [{ delete_key: "part 100" }]);
  t.equal((await secondary.run(["sync"])).code, 0);
  t.equal(await secondary.staged(), 0, "it has become something else");
  t.same(await secondary.content(), await primary.content());

  await primary.batch("parts", addLines(0, 1, 100_000));
  t.equal((await secondary.run(["sync", "--sub", "parts-Epicor"], kill)).signal, "SIGKILL");
  t.equal(await secondary.staged(), 1);
  await db.run("DELETE FROM subscriptions WHERE name = 'parts-Epicor'");
  t.equal((await secondary.run(["sync", "--allow-drops"])).code, 6);
  t.equal(await secondary.staged(), 0, "the subscription was withdrawn");

  const slices = JSON.parse(await secondary.ok(["slice", "list", "--json"])) as { name: string }[];
  t.equal(slices.length, 2, "its data is kept");
});
