/** Runs many schedules one after another. */
import { planOf } from "./draw.ts";
import { simulate } from "./schedule.ts";

export interface BatchResult {
  schedules: number;
  actions: number;
  events: Record<string, number>;
  /** Seeds that failed, with what was found. */
  failed: { seed: number; violations: string[] }[];
}

/** One schedule in so many is run twice, and must be the same both times. */
const twiceEvery = 50;

/** @param step from one seed to the next. */
export async function runBatch(first: number, count: number, step: number, mostFailures: number): Promise<BatchResult> {
  const result: BatchResult = { schedules: 0, actions: 0, events: {}, failed: [] };
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
  return result;
}
