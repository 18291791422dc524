/** Asks processes that simulate, from a copy of the program. */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { keptPlans } from "./kept.ts";
import { rareEvents } from "./rare.ts";
import type { Answer, Question, Replay } from "./worker.ts";

/** @param directory of the copy. */
export function ask(directory: string, question: Question): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const program = join(directory, "dist/test/sim/worker.js");
    const options = { cwd: directory, maxBuffer: 2 ** 28 };
    // Nearly all that is allocated is garbage soon.
    execFile(
      process.execPath,
      ["--max-semi-space-size=64", program, JSON.stringify(question)],
      options,
      (error, out, err) => {
        const last = out.trimEnd().split("\n").at(-1) ?? "";
        if (error !== null || !last.startsWith("{"))
          reject(new Error(`the simulation died: ${err || out}`, { cause: error }));
        else resolve(JSON.parse(last) as Answer);
      },
    );
  });
}

export interface Found {
  schedules: number;
  actions: number;
  /** Milliseconds until the last process was done. */
  ms: number;
  failed: { seed: number; violations: string[] }[];
  /** Named events that never happened. */
  missing: string[];
  events: Record<string, number>;
}

const processes = 2;

/** Runs schedules in two processes at once. @param events of batches before this one. */
export async function runSeeds(
  directory: string,
  first: number,
  count: number,
  mostFailures = 5,
  events: Record<string, number> = {},
): Promise<Found> {
  const answers = await Promise.all(
    Array.from({ length: processes }, (_, i) => {
      const share = Math.floor((count + processes - 1 - i) / processes);
      const question = { ask: "batch", first: first + i, count: share, step: processes, mostFailures } as const;
      return ask(directory, question).catch((error: Error): Answer => {
        const failed = [{ seed: first + i, violations: [error.message] }];
        return { batch: { schedules: 0, actions: 0, events: {}, failed, ms: 1 } };
      });
    }),
  );
  const found: Found = { schedules: 0, actions: 0, ms: 0, failed: [], missing: [], events };
  for (const answer of answers) {
    if (!("batch" in answer)) continue;
    const { batch } = answer;
    found.schedules += batch.schedules;
    found.actions += batch.actions;
    found.ms = Math.max(found.ms, batch.ms);
    found.failed.push(...batch.failed);
    for (const [name, n] of Object.entries(batch.events)) found.events[name] = (found.events[name] ?? 0) + n;
  }
  found.missing = rareEvents.names.filter((name) => found.events[name] === undefined);
  return found;
}

export async function replayed(directory: string, question: Question): Promise<Replay> {
  const answer = await ask(directory, question);
  if (!("replay" in answer)) throw new Error("another answer than asked for");
  return answer.replay;
}

/** What goes wrong in the plans that are kept, by what they once found. */
export async function checkKept(directory: string): Promise<Record<string, string[]>> {
  const answer = await ask(directory, { ask: "check", plans: keptPlans.map(({ plan }) => plan) });
  if (!("checked" in answer)) throw new Error("another answer than asked for");
  return Object.fromEntries(keptPlans.map(({ found }, i) => [found, answer.checked[i]!]));
}
