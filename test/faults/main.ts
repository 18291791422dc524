/**
 * The full forms of the tests with faults: `npm run test:cuts` and its like.
 *
 *     node dist/test/faults/main.js cuts
 *
 * Prints each fault that it finds and at the end a line of figures; the exit code is 1 when a figure is missed.
 */
import t from "tap";
import { sendBadInputs } from "./bad-input.ts";
import { sweepCuts } from "./cuts.ts";
import { sufferEvil } from "./evil.ts";
import { type Figures, line, missed } from "./figures.ts";
import { killEverything } from "./kills.ts";
import type { Teardown } from "./subject.ts";

t.setTimeout(0);

const print = (text: string) => process.stdout.write(`${text}\n`);

const series: Record<string, (test: Teardown) => Promise<Figures>> = {
  cuts: (test) => sweepCuts(test, { inProcess: 2000, commands: 100, dead: 20 }, print),
  kill: (test) =>
    killEverything(test, { places: Number.POSITIVE_INFINITY, random: 100, commits: Number.POSITIVE_INFINITY }, print),
  evil: () => sufferEvil({ patient: true, every: 1 }, print),
  badinput: (test) => sendBadInputs(test, { healthySyncs: 20, patient: true }, print),
};

const name = process.argv[2] ?? "";
if (!Object.hasOwn(series, name)) {
  process.stderr.write(`There is no series ${name}; there are ${Object.keys(series).join(", ")}.\n`);
  process.exit(2);
}
const endings: (() => Promise<void>)[] = [];
const begun = performance.now();
try {
  const figures = await series[name]!({ teardown: (work) => endings.push(work) });
  const wrong = missed(figures);
  print(`${name}: ${line(figures)} (${Math.round((performance.now() - begun) / 1000)} s)`);
  if (wrong.length > 0) process.exitCode = 1;
} finally {
  for (const end of endings.reverse()) await end();
}
