/**
 * `npm run sim`: schedules with faults, until one of them finds something wrong.
 *
 *     npm run sim -- --seeds 20000 [--first 1]    runs so many, and prints the figures
 *     npm run sim -- --seed 4711                  replays one, with its trace
 *     npm run sim -- --plan FILE                  replays a plan that a failure printed
 */
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { replayed, runSeeds } from "./ask.ts";
import type { Plan } from "./plan.ts";
import { smallLimits } from "./small-limits.ts";

const { values } = parseArgs({
  options: { seeds: { type: "string" }, first: { type: "string" }, seed: { type: "string" }, plan: { type: "string" } },
});
const number = (text: string | undefined, standard: number): number => {
  if (text === undefined) return standard;
  if (/^\d{1,9}$/.test(text)) return Number(text);
  process.stderr.write(`${text} is not a whole number\n`);
  process.exit(2);
};
const print = (text: string) => process.stdout.write(`${text}\n`);

const copy = smallLimits();
try {
  if (values.seed !== undefined || values.plan !== undefined) {
    const plan = values.plan === undefined ? undefined : (JSON.parse(readFileSync(values.plan, "utf8")) as Plan);
    const { violations, lines, ...result } = await replayed(
      copy.directory,
      plan === undefined ? { ask: "replay seed", seed: number(values.seed, 0) } : { ask: "replay", plan },
    );
    print(JSON.stringify(result.plan));
    for (const line of lines) print(line);
    for (const violation of violations) print(`VIOLATION ${violation}`);
    print(violations.length === 0 ? "nothing is wrong" : `${violations.length} violations`);
    process.exitCode = violations.length === 0 ? 0 : 1;
  } else await runMany(number(values.first, 1), number(values.seeds, 2000));
} finally {
  copy.remove();
}

async function runMany(first: number, count: number): Promise<void> {
  const { schedules, actions, ms, failed, missing } = await runSeeds(copy.directory, first, count);
  for (const { seed, violations } of failed) print(`seed ${seed}: ${violations.join("\n  ")}`);
  if (failed[0] !== undefined) {
    const { plan, lines, violations } = await replayed(copy.directory, { ask: "shrink", seed: failed[0].seed });
    print(`\nseed ${failed[0].seed}, made small (npm run sim -- --plan FILE replays it):\n${JSON.stringify(plan)}`);
    for (const line of lines.slice(-40)) print(`  ${line}`);
    for (const violation of violations) print(`VIOLATION ${violation}`);
  }
  for (const name of missing) print(`never reached: ${name}`);
  const perMinute = Math.round((schedules / ms) * 60_000);
  print(
    `sim: ${schedules} schedules, ${actions} faults, ${failed.length} violations, ${missing.length} events not reached, ${perMinute} schedules a minute`,
  );
  process.exitCode = failed.length + missing.length === 0 && schedules === count ? 0 : 1;
}
