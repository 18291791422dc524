/**
 * The process that simulates, in a copy of the program with small limits (small-limits.ts). What it is asked comes as JSON on the
 * command line, and what it found is the last line that it prints.
 */
import { type BatchResult, runBatch } from "./batch.ts";
import { planOf } from "./draw.ts";
import type { Trace } from "./operation.ts";
import type { Plan } from "./plan.ts";
import { record } from "./record.ts";
import { simulate } from "./schedule.ts";
import { findOpen, seal } from "./sealed.ts";
import { shrink } from "./shrink.ts";

export type Question =
  | { ask: "batch"; first: number; count: number; step: number; mostFailures: number }
  /** Makes the plan of a seed small that fails. */
  | { ask: "shrink"; seed: number }
  | { ask: "replay"; plan: Plan }
  | { ask: "replay seed"; seed: number }
  /** What is wrong with these, one by one. */
  | { ask: "check"; plans: readonly Plan[] }
  /** Whether the process is without clock, chance, files and sockets. */
  | { ask: "sealed" }
  /** Records what is done in databases. */
  | { ask: "traces"; first: number; count: number };

export interface Replay {
  plan: Plan;
  violations: string[];
  lines: readonly string[];
}

export type Answer =
  | { batch: BatchResult & { ms: number } }
  | { replay: Replay }
  | { sealed: { tried: number; open: string[] } }
  | { checked: string[][] }
  | { traces: Trace[] };

const replay = async (plan: Plan): Promise<Answer> => {
  const { violations, lines } = await simulate(plan, true);
  return { replay: { plan, violations, lines } };
};

async function answer(question: Question, now: () => number): Promise<Answer> {
  if (question.ask === "batch") {
    const begun = now();
    // Where an error came from costs time, and is wanted only when one is looked at.
    Error.stackTraceLimit = 0;
    const { first, count, step, mostFailures } = question;
    const result = await runBatch(first, count, step, mostFailures);
    return { batch: { ...result, ms: now() - begun } };
  }
  if (question.ask === "sealed") return { sealed: await findOpen() };
  if (question.ask === "traces") return { traces: await record(question.first, question.count) };
  if (question.ask === "check") {
    const checked: string[][] = [];
    for (const plan of question.plans) checked.push((await simulate(plan)).violations);
    return { checked };
  }
  if (question.ask === "replay") return replay(question.plan);
  if (question.ask === "replay seed") return replay(planOf(question.seed));
  const fails = async (plan: Plan) => (await simulate(plan)).violations.length > 0;
  return replay(await shrink(planOf(question.seed), fails));
}

const question = JSON.parse(process.argv[2] ?? "") as Question;
const { stdout } = process;
stdout.write(`${JSON.stringify(await answer(question, seal()))}\n`);
