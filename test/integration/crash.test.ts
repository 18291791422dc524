/** A process that is killed (-9) at any published step leaves each slice wholly old or wholly new, and one plain run converges. */

import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { stepNames } from "../../src/step.ts";
import { syncThrough } from "./in-process.ts";
import { addLines, makePair, offer, Party } from "./parties.ts";

t.setTimeout(240_000);

const failpoint = new URL("../harness/failpoint.js", import.meta.url).href;
const killAt = (place: string) => ({ nodeArgs: ["--import", failpoint], env: { SP_FP: `${place}:kill` } });

/** Each slice of `now` is what it was in `before` or in `after`. */
function mixed(
  now: Record<string, unknown>,
  before: Record<string, unknown>,
  after: Record<string, unknown>,
): string[] {
  const text = (value: unknown) => JSON.stringify(value);
  return Object.keys(now).filter((id) => text(now[id]) !== text(before[id]) && text(now[id]) !== text(after[id]));
}

let generation = 0;

/** A new state of both slices: one loses and gains grains, the other is replaced whole, with a grain in chunks. */
async function change(primary: Party): Promise<void> {
  const n = ++generation;
  await primary.batch("parts", [
    ...(n === 1 ? addLines(0, 200) : [{ delete_key: `generation ${n - 1}` }]),
    { add: { grain_key: `generation ${n}`, source: "", encoding: "raw", payload: "x" } },
  ]);
  const large = Buffer.alloc(3 * 1024 * 1024, n).toString("base64");
  await primary.batch("files", [
    { delete_all: true },
    { add: { grain_key: "level-1", source: "f", encoding: "b64", payload: large } },
  ]);
}

t.test("the secondary is killed", async (t) => {
  const { primary, secondary } = await makePair(t);
  await offer(primary, "parts", "aces-items", secondary);
  await offer(primary, "files", "binary-blob", secondary);
  await change(primary);
  // The lock of one that was killed is let go when its server notices.
  const plainRun = () => syncThrough(secondary, secondary.database.url, { waitSeconds: 5 });
  const log = join(secondary.directory, "steps");
  await secondary.ok(["sync"], { nodeArgs: ["--import", failpoint], env: { SP_FP_LOG: log } });
  const places: string[] = stepNames.filter((name) => name.startsWith("s.")).map((name) => `${name}:1`);
  for (const later of ["s.stage:3", "s.tx.insert:2", "s.tx.commit:2", "s.tx.committed:2", "s.confirm:2", "s.next:2"])
    places.push(later);
  for (const place of places) {
    const before = await secondary.content();
    await change(primary);
    const after = await primary.content();
    const killed = await secondary.run(["sync"], killAt(place));
    t.equal(killed.signal, "SIGKILL", `${place} is reached`);
    t.same(mixed(await secondary.content(), before, after), [], `${place}: nothing mixed`);
    t.equal(await plainRun(), 0, `${place}: a plain run`);
    t.same(await secondary.content(), after, `${place}: converged`);
  }
  const db = await secondary.db();
  t.same(
    await db.query("SELECT count(*) AS n FROM outbox"),
    [{ n: 0 }],
    "every confirmation was acknowledged in the end",
  );
  t.equal(await secondary.staged(), 0, "nothing stays staged");
  const held = await (await primary.db()).query(
    "SELECT h.hash = s.hash AS same FROM holdings h JOIN slices s USING (slice_key)",
  );
  t.same(held, [{ same: true }, { same: true }], "the primary knows what its partner holds");
});

t.test("the primary is killed", async (t) => {
  const { primary, secondary } = await makePair(t);
  await offer(primary, "parts", "aces-items", secondary);
  await offer(primary, "files", "binary-blob", secondary);
  const plainRun = () => syncThrough(secondary, secondary.database.url);
  generation = 0;
  await change(primary);
  const { port } = new URL(primary.server!.url);
  // One process is well for a plain run, and is killed in the next.
  const plan = join(primary.directory, "plan");
  const serveUntilPlanned = async () => {
    await rm(plan, { force: true });
    await primary.server!.kill9();
    await primary.serve({ port, nodeArgs: ["--import", failpoint], env: { SP_FP_FILE: plan } });
  };
  await serveUntilPlanned();
  t.equal(await plainRun(), 0);
  for (const place of [
    ...stepNames.filter((name) => name.startsWith("p.")).map((name) => `${name}:1`),
    "p.grains:2",
    "p.end:2",
    "p.confirm:2",
  ]) {
    const before = await secondary.content();
    await change(primary);
    const after = await primary.content();
    await writeFile(plan, `${place}:kill`);
    const code = await plainRun();
    t.equal((await primary.server!.exited).signal, "SIGKILL", `${place} is reached`);
    const now = await secondary.content();
    t.same(mixed(now, before, after), [], `${place}: nothing mixed`);
    t.ok(code === 3 || (code === 0 && JSON.stringify(now) === JSON.stringify(after)), `${place}: exit ${code} is true`);
    await serveUntilPlanned();
    t.equal(await plainRun(), 0, `${place}: a plain run`);
    t.same(await secondary.content(), after, `${place}: converged`);
  }
});

t.test("a publisher is killed", async (t) => {
  const primary = await Party.make(t, "primary", "ABC Brakes");
  await offer(primary, "file", "xml-file");
  const path = join(primary.directory, "f.xml");
  await writeFile(path, "first");
  await primary.ok(["add", "--slice", "file", path]);
  for (const name of stepNames.filter((step) => step.startsWith("l."))) {
    await writeFile(path, `as of ${name}`);
    const before = await primary.content();
    const killed = await primary.run(["add", "--slice", "file", path], killAt(`${name}:1`));
    t.equal(killed.signal, "SIGKILL", `${name} is reached`);
    t.same(await primary.content(), before, `${name}: as before`);
    await primary.ok(["add", "--slice", "file", path]);
    t.notSame(await primary.content(), before, `${name}: published by the next run`);
  }
});
