/**
 * What rows cost those whom they are sent to: how long `/healthz` of a server takes to answer meanwhile, and how much memory it takes. A
 * process of its own looks (sampler.ts). Rows may run side by side: whatever was under way when a limit was passed is under suspicion, and
 * is then weighed alone (judge.ts).
 */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { clockMs, type Sample, type Subject } from "./sample.ts";

/** What a row may cost: an answer of `/healthz` may take so long, and memory grow by so much. */
export const allowed = { lateMs: 250, grownMb: 100 };

export interface Weight {
  lateMs: number;
  grownMb: number;
}

/** What a row cost one of those that are looked at. */
export interface Weighed extends Weight {
  row: string;
  at: string;
}

export const isTooHeavy = ({ lateMs, grownMb }: Weight): boolean =>
  lateMs > allowed.lateMs || grownMb > allowed.grownMb;

/** Work goes on for a moment after its answer. */
const tailMs = 50;

export class Scales {
  readonly #child: ChildProcess;
  readonly #failed: Promise<never>;
  readonly #samples = new Map<string, Sample[]>();
  readonly #rows: { row: string; begunMs: number; endedMs: number }[] = [];

  private constructor(subjects: readonly Subject[]) {
    for (const { name } of subjects) this.#samples.set(name, []);
    this.#child = fork(fileURLToPath(new URL("./sampler.js", import.meta.url)), { execArgv: [] });
    this.#child.on("message", (sample: Sample) => this.#samples.get(sample.name)!.push(sample));
    for (const subject of subjects) this.#child.send(subject);
    this.#failed = once(this.#child, "exit").then(([code]) => {
      throw new Error(`the sampler ended with ${code}`);
    });
    this.#failed.catch(() => {});
  }

  /** Begins to look at these. What they take now is what they may take: they should be warm. */
  static async set(...subjects: readonly Subject[]): Promise<Scales> {
    const scales = new Scales(subjects);
    await scales.#until(0);
    return scales;
  }

  /** How often the server of this name was asked whether it is well. */
  asked(name: string): number {
    return this.#samples.get(name)!.length;
  }

  /** Does the work of a row, perhaps beside others. */
  async row<T>(row: string, work: () => Promise<T>): Promise<T> {
    const begunMs = clockMs();
    try {
      return await work();
    } finally {
      this.#rows.push({ row, begunMs, endedMs: clockMs() });
    }
  }

  /** The same with nothing of what was before it: what is being asked now has been answered first. */
  async rowAfterAll<T>(row: string, work: () => Promise<T>): Promise<T> {
    await this.#until(clockMs());
    return this.row(row, work);
  }

  /** What each row so far cost everybody. */
  async weights(): Promise<Weighed[]> {
    await this.#until(clockMs() + tailMs);
    return [...this.#samples].flatMap(([at, samples]) =>
      this.#rows.map(({ row, begunMs, endedMs }) => {
        const during = samples.filter((sample) => sample.endedMs >= begunMs && sample.begunMs <= endedMs + tailMs);
        const most = (what: (sample: Sample) => number) => Math.max(0, ...during.map(what));
        const before = samples[0]!.residentMb;
        return { row, at, lateMs: most(({ lateMs }) => lateMs), grownMb: most(({ peakMb }) => peakMb) - before };
      }),
    );
  }

  /** Stops looking: after that nobody is asked any more. */
  async end(): Promise<void> {
    const gone = once(this.#child, "exit");
    this.#child.send("end");
    await gone;
  }

  /** Waits until all of them have answered what they were asked after that time. */
  async #until(ms: number): Promise<void> {
    const answered = (samples: Sample[]) => (samples.at(-1)?.begunMs ?? Number.NEGATIVE_INFINITY) > ms;
    while (![...this.#samples.values()].every(answered))
      await Promise.race([once(this.#child, "message"), this.#failed]);
  }
}
