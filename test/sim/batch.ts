/** A process of its own that runs schedules: `node batch.js FIRST COUNT [STEP]`, from a copy with small limits. Prints JSON. */
import { type Plan, planOf } from "./plan.ts";
import { type Outcome, World } from "./world.ts";

export interface BatchResult {
  schedules: number;
  actions: number;
  events: Record<string, number>;
  /** Seeds that failed, with what was found. */
  failed: { seed: number; violations: string[] }[];
  ms: number;
}

/** Runs one plan. */
export const simulate = (plan: Plan, traced = false): Promise<Outcome> => new World(plan, traced).run();

/** One schedule in so many is run twice, and must be the same both times. */
const twiceEvery = 50;

export async function runBatch(first: number, count: number, step: number, mostFailures: number): Promise<BatchResult> {
  const begun = performance.now();
  const result: BatchResult = { schedules: 0, actions: 0, events: {}, failed: [], ms: 0 };
  for (let i = 0; i < count && result.failed.length < mostFailures; i++) {
    const seed = first + i * step;
    const { violations, events, actions, trace } = await simulate(planOf(seed));
    result.schedules++;
    result.actions += actions;
    for (const [name, n] of events) result.events[name] = (result.events[name] ?? 0) + n;
    if (seed % twiceEvery === 0 && violations.length === 0 && (await simulate(planOf(seed))).trace !== trace)
      violations.push("the same seed gave another trace");
    if (violations.length > 0) result.failed.push({ seed, violations });
  }
  result.ms = performance.now() - begun;
  return result;
}
