/** The database server of either side is stopped without a word (`pg_ctl stop -m immediate`) in the middle of a sync, and started again. */
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { startOwnServer } from "../harness/own-server.ts";
import type { Figures } from "./figures.ts";
import { failpoint } from "./kills.ts";
import { Subject, type Teardown } from "./subject.ts";
import { Verdict } from "./verdict.ts";

/** Where a side stands still while its database is stopped: while it stages, and in the transaction that applies. */
const places = {
  secondary: [
    "s.tx.insert:1",
    "s.stage:2",
    "s.tx.commit:2",
    "s.stage:1",
    "s.tx.delete:1",
    "s.tx.verify:3",
    "s.tx.committed:1",
  ],
  primary: ["p.grains:2", "p.subs:1", "p.cells:1", "p.compare:1", "p.end:1", "p.confirm:1", "p.login:1"],
};
const standMs = 400;
/** How soon a primary must be ready after its database is back. */
const healMs = 10_000;

export interface StopCounts {
  /** Most places of each side. */
  places: number;
  /** Stops at moments that nobody chose, while statements run. */
  random: number;
}

/** @param tell is told of each fault that was found. */
export async function stopDatabases(
  test: Teardown,
  counts: StopCounts,
  tell: (fault: string) => void,
): Promise<Figures> {
  const [there, here] = await Promise.all([startOwnServer(test), startOwnServer(test)]);
  const servers = { primary: there, secondary: here };
  const subject = await Subject.make(test, {
    primary: servers.primary.database,
    secondary: servers.secondary.database,
  });
  const { primary, secondary } = subject;
  const { port } = new URL(primary.server!.url);
  const log = join(secondary.directory, "steps");
  const verdict = new Verdict(subject, tell);
  const wrong = { "primaries that fell": 0, "primaries not ready in 10 s": 0 };
  let slowestMs = 0;

  const standingAt = (place: string) => ({
    nodeArgs: ["--import", failpoint],
    env: { SP_FP: `${place}:sleep:${standMs}`, SP_FP_LOG: log },
  });

  /** Waits until the place is reached, or the run has ended without. */
  const reached = async (place: string, ended: Promise<unknown>) => {
    let over = false;
    void ended.then(() => {
      over = true;
    });
    for (;;) {
      const steps = await readFile(log, "utf8").catch(() => "");
      if (steps.includes(`${place.replace(":", " ")}\n`)) return;
      if (over) return verdict.note("not reached", place);
      await sleep(5);
    }
  };

  const stop = (
    side: keyof typeof places,
    what: string,
    when: (ended: Promise<unknown>) => Promise<void>,
    options = {},
  ) =>
    verdict.during(
      `the ${side}'s database, ${what}`,
      async () => {
        const run = secondary.start(["sync", "--retry-for", "0"], options);
        await when(run.exited);
        await servers[side].stopNow();
        const { code } = await run.exited;
        if (side === "primary" && !(await isWell("healthz"))) wrong["primaries that fell"]++;
        await servers[side].start();
        if (side === "primary") {
          const begun = performance.now();
          while (!(await isWell("readyz")) && performance.now() - begun < healMs) await sleep(20);
          const tookMs = performance.now() - begun;
          slowestMs = Math.max(slowestMs, tookMs);
          if (tookMs >= healMs) wrong["primaries not ready in 10 s"]++;
        }
        return code;
      },
      side === "primary" ? [3] : [9],
    );

  const isWell = (path: string) =>
    fetch(`${primary.server!.url}/${path}`).then(
      ({ status }) => status === 200,
      () => false,
    );

  for (const place of places.secondary.slice(0, counts.places)) {
    await stop("secondary", `at ${place}`, (ended) => reached(place, ended), standingAt(place));
    await rm(log, { force: true });
  }
  for (const place of places.primary.slice(0, counts.places)) {
    await primary.server!.kill9();
    await primary.serve({ port, ...standingAt(place) });
    await stop("primary", `at ${place}`, (ended) => reached(place, ended));
    await rm(log, { force: true });
  }
  for (let n = 0; n < counts.random; n++) {
    const side = n % 2 === 0 ? "secondary" : "primary";
    const ms = 250 + 25 * n;
    await stop(side, `after ${ms} ms`, () => sleep(ms));
  }
  tell(`the primary was ready again ${Math.round(slowestMs)} ms after its database at the latest`);
  return { "databases stopped": verdict.made, ...verdict.wrong, ...wrong };
}
