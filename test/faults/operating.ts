/** What operators and their systems do to either side in the middle of a sync: signals, and disks that take no output. */
import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { Random } from "../harness/random.ts";
import type { Figures } from "./figures.ts";
import { Subject, type Teardown } from "./subject.ts";
import { Verdict } from "./verdict.ts";

/** Signals that end a command in order, and with what code. */
const endings = { SIGHUP: 129, SIGINT: 130, SIGQUIT: 131, SIGTERM: 143 } as const;
/** Those that change nothing; a server lives through SIGHUP too. */
const ignored = ["SIGUSR1", "SIGUSR2", "SIGPIPE"] as const;

/** Waits until the process has said what becomes of SIGHUP: before, signals do with it what they do with any. Linux only. */
async function heedsSignals(pid: number): Promise<void> {
  for (let n = 0; n < 500; n++) {
    const status = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "SigCgt:\t1");
    if (/^SigCgt:.*[13579bdf]$/m.test(status)) return;
    await sleep(10);
  }
}

/**
 * @param counts.rounds how often each is done, at moments of chance.
 * @param tell is told of each fault that was found.
 */
export async function operate(
  test: Teardown,
  counts: { rounds: number },
  tell: (fault: string) => void,
): Promise<Figures> {
  const subject = await Subject.make(test);
  const { primary, secondary } = subject;
  const verdict = new Verdict(subject, tell);
  const wrong = { "not delivered": 0, "primaries that fell": 0 };
  const random = new Random(9);

  const wholeMs = await (async () => {
    await subject.change();
    const begun = performance.now();
    await secondary.ok(["sync"]);
    return performance.now() - begun;
  })();
  const moment = () => random.int(0, Math.round(wholeMs));

  /** A run that is to deliver everything, whatever is done meanwhile. */
  const delivers = async (what: string, code: number, run: { exited: Promise<{ code: number | null }> }) => {
    const ended = (await run.exited).code;
    if (!(await subject.equal())) {
      wrong["not delivered"]++;
      tell(`not delivered: ${what}`);
    }
    return ended === code ? 0 : ended;
  };

  for (let round = 0; round < counts.rounds; round++) {
    for (const [signal, code] of Object.entries(endings)) {
      const ms = moment();
      await verdict.during(`${signal} to the secondary after ${ms} ms`, async () => {
        const run = secondary.start(["sync"]);
        await heedsSignals(run.pid);
        await sleep(ms);
        run.kill(signal as NodeJS.Signals);
        return (await run.exited).code ?? -1;
      }, [code]);
    }
    await verdict.during("signals that change nothing, to both", async () => {
      const run = secondary.start(["sync"]);
      await heedsSignals(run.pid);
      await sleep(moment());
      for (const signal of ignored) {
        run.kill(signal);
        process.kill(primary.server!.pid, signal);
      }
      process.kill(primary.server!.pid, "SIGHUP");
      return delivers("signals that change nothing", 0, run);
    }, []);
    for (const [what, into] of Object.entries({
      "standard output": { stdout: "/dev/full" },
      "both outputs": { stdout: "/dev/full", stderr: "/dev/full" },
    })) {
      await verdict.during(
        `${what} on a full disk`,
        () => delivers(`${what} on a full disk`, 9, secondary.start(["sync"], { into })),
        [],
      );
    }
    const well = await fetch(`${primary.server!.url}/healthz`).then(
      ({ status }) => status === 200,
      () => false,
    );
    if (!well) wrong["primaries that fell"]++;
  }
  return { "things done": verdict.made, ...verdict.wrong, ...wrong };
}
