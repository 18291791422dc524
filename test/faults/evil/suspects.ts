/**
 * Which moves cost this process so much that they are to be weighed against the program alone. Both peers are in it, and what was taken and
 * is free again counts as taken: that may make a move suspect which is not heavy, and hides none that is.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { judge } from "../weigh/judge.ts";
import { Scales, type Weight } from "../weigh/scales.ts";

/** Garbage that is worth a wait. */
const muchBytes = 40 * 2 ** 20;

export class Suspects {
  readonly #alone = new Map<string, () => Promise<Weight>>();
  /** What the process keeps after it was tidied. */
  #leftBytes = process.memoryUsage.rss();

  private constructor(private readonly scales: Scales) {}

  /** @param url of a server in this process. */
  static async watch(url: string): Promise<Suspects> {
    return new Suspects(await Scales.set({ name: "program", pid: process.pid, url }));
  }

  /** Does a move. @param alone weighs it against the program alone. */
  async row<T>(name: string, work: () => Promise<T>, alone: () => Promise<Weight>): Promise<T> {
    this.#alone.set(name, alone);
    await this.#tidy();
    return this.scales.rowAfterAll(name, work);
  }

  /** Collects the garbage of the moves before, if it is much: it would make the next ones suspect. V8 takes a moment to give it back. */
  async #tidy(): Promise<void> {
    const much = this.#leftBytes + muchBytes;
    if (process.memoryUsage.rss() < much) return;
    globalThis.gc!();
    for (let n = 0; n < 10 && process.memoryUsage.rss() > much - muchBytes / 2; n++) await sleep(50);
    this.#leftBytes = process.memoryUsage.rss();
  }

  /** The moves that are too heavy for the program, in words. */
  async judge(): Promise<string[]> {
    const weights = await this.scales.weights();
    await this.scales.end();
    return judge(weights, ({ row }) => this.#alone.get(row)!());
  }
}
