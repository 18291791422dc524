/** Each side is killed (-9) at every published step and at random moments, and the database is lost under it, also at COMMIT. */
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { asOwner } from "../bench/world.ts";
import { Random } from "../harness/random.ts";
import { CommitWire } from "./commit-wire.ts";
import type { Figures } from "./figures.ts";
import { Subject, type Teardown } from "./subject.ts";
import { Verdict } from "./verdict.ts";

export interface KillCounts {
  /** Most places (steps and their occurrences) of each side. */
  places: number;
  /** Kills of either side, and of all connections to the database, at random moments. */
  random: number;
  /** Most COMMITs that are cut, each both ways. */
  commits: number;
}

/** Loaded into a process to act at its steps. */
export const failpoint = new URL("../harness/failpoint.js", import.meta.url).href;
export const watched = (env: Record<string, string>) => ({ nodeArgs: ["--import", failpoint], env });

/** @param tell is told of each fault that was found. */
export async function killEverything(
  test: Teardown,
  counts: KillCounts,
  tell: (fault: string) => void,
): Promise<Figures> {
  const subject = await Subject.make(test);
  const { primary, secondary } = subject;
  const { port } = new URL(primary.server!.url);
  const verdict = new Verdict(subject, tell);
  const during = verdict.during.bind(verdict);

  const restart = async (options: Parameters<typeof primary.serve>[0] = {}) => {
    await primary.server!.kill9();
    await primary.serve({ port, ...options });
  };

  /** The steps of one sync of either side. */
  const places = async (side: "s" | "p"): Promise<string[]> => {
    const log = join(secondary.directory, "steps");
    await subject.change();
    if (side === "p") await restart(watched({ SP_FP_LOG: log }));
    await secondary.ok(["sync"], side === "s" ? watched({ SP_FP_LOG: log }) : {});
    return placesIn(log, counts.places);
  };

  for (const place of await places("s")) {
    await during(place, async () => {
      const { code, signal } = await secondary.run(["sync"], watched({ SP_FP: `${place}:kill` }));
      if (signal !== "SIGKILL") verdict.note("not reached", place);
      return code;
    }, []);
  }

  for (const place of await places("p")) {
    await restart(watched({ SP_FP: `${place}:kill` }));
    await during(place, async () => {
      const code = await subject.sync();
      if ((await primary.server!.exited).signal !== "SIGKILL") verdict.note("not reached", place);
      await restart();
      return code;
    }, [3]);
  }
  await restart();

  const random = new Random(4);
  const wholeMs = await (async () => {
    await subject.change();
    const begun = performance.now();
    await secondary.ok(["sync"]);
    return performance.now() - begun;
  })();
  for (let n = 0; n < counts.random; n++) {
    const ms = random.int(0, Math.round(wholeMs));
    const victim = (["secondary", "primary", "database"] as const)[n % 3]!;
    await during(
      `the ${victim} after ${ms} ms`,
      async () => {
        const run = secondary.start(["sync", "--retry-for", "0"]);
        await sleep(ms);
        if (victim === "secondary") run.kill("SIGKILL");
        if (victim === "primary") await primary.server!.kill9();
        if (victim === "database") await endConnections(subject);
        const { code } = await run.exited;
        if (victim === "primary") await restart();
        return code;
      },
      victim === "primary" ? [3] : [9],
    );
  }

  const wire = await CommitWire.to(secondary.database.url);
  test.teardown(() => wire.close());
  await subject.change();
  wire.begin();
  await subject.syncThrough(wire.url);
  const commits = wire.seen;
  const step = Math.max(1, Math.ceil(commits / counts.commits));
  for (let n = 1; n <= commits; n += step) {
    for (const committed of [true, false]) {
      wire.begin({ n, committed });
      await during(`COMMIT ${n}, ${committed ? "" : "not "}committed`, () => subject.syncThrough(wire.url), [9]);
    }
  }
  return { kills: verdict.made, ...verdict.wrong };
}

/** The steps that a log names, each with its first, middle and last occurrence; the log is removed. @param most so many of them at most. */
export async function placesIn(log: string, most: number): Promise<string[]> {
  const reached = new Map<string, number>();
  for (const line of (await readFile(log, "utf8")).trim().split("\n")) {
    const [name, n] = line.split(" ") as [string, string];
    reached.set(name, Number(n));
  }
  await rm(log);
  const all = [...reached].flatMap(([name, n]) =>
    [...new Set([1, Math.ceil(n / 2), n])].map((occurrence) => `${name}:${occurrence}`),
  );
  const step = Math.max(1, Math.ceil(all.length / most));
  return all.filter((_, i) => i % step === 0);
}

/** Ends every connection to the secondary's database but the tests' own. */
async function endConnections({ secondary }: Subject): Promise<void> {
  await asOwner(secondary.database.url, (owner) =>
    owner.run(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
       WHERE datname = current_database() AND application_name NOT IN ('sandpiper test', 'sandpiper in the test')
         AND pid <> pg_backend_pid()`,
    ),
  );
}
