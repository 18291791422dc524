/** `slice remove` at the secondary while a sync transfers that slice: the run says so, and its next try adds the slice anew. */
import { join } from "node:path";
import t from "tap";
import { requireSlice } from "../../src/slices/slice-store.ts";
import { stepReached } from "../harness/steps.ts";
import { addLines, makePair, offer } from "./parties.ts";

t.setTimeout(120_000);

const failpoint = new URL("../harness/failpoint.js", import.meta.url).href;

t.test("a slice is removed here while it is transferred", async (t) => {
  const { primary, secondary } = await makePair(t);
  await offer(primary, "parts", "aces-items", secondary);
  for (const [n, place] of ["s.compared", "s.stage", "s.tx.begin"].entries()) {
    await primary.batch("parts", addLines(n * 30, 30));
    const log = join(secondary.directory, `steps ${n}`);
    const run = secondary.start(["sync", "--retry-for", "30"], {
      nodeArgs: ["--import", failpoint],
      env: { SP_FP: `${place}:1:sleep:2500`, SP_FP_LOG: log },
    });
    await stepReached(log, `${place} 1`);
    await secondary.ok(["slice", "remove", "parts", "--noprompt"]);
    const { code } = await run.exited;
    t.equal(code, 0, `${place}: ${run.stdout()}${run.stderr()}`);
    t.same(await secondary.content(), await primary.content(), place);
  }
});

t.test("a slice that is removed here while it is compared does not keep the others from their sync", async (t) => {
  const { primary, secondary } = await makePair(t);
  const names = ["brakes", "clutches", "wipers"];
  for (const name of names) await offer(primary, name, "aces-items", secondary);
  for (const name of names) await primary.batch(name, addLines(0, 30));
  await secondary.ok(["sync"]);
  for (const name of names) await primary.batch(name, addLines(30, 5));
  const log = join(secondary.directory, "steps");
  const run = secondary.start(["sync", "--retry-for", "0"], {
    nodeArgs: ["--import", failpoint],
    env: { SP_FP: "s.list:1:sleep:2500", SP_FP_LOG: log },
  });
  await stepReached(log, "s.list 1");
  await secondary.ok(["slice", "remove", "brakes", "--noprompt"]);
  const { code } = await run.exited;
  t.equal(code, 7, `deferred: ${run.stdout()}${run.stderr()}`);
  const there = await primary.content();
  delete there[(await requireSlice(await primary.db(), "brakes")).id];
  t.same(await secondary.content(), there, "the others are as the primary has them");
});
