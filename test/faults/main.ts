/**
 * The full forms of the tests with faults: `npm run test:cuts` and its like.
 *
 *     node dist/test/faults/main.js cuts
 *
 * Prints each fault that it finds and at the end lines of figures; the exit code is 1 when a figure is missed.
 */
import t from "tap";
import { sendBadInputs } from "./bad-input.ts";
import { syncBesideAttacks } from "./beside-attacks.ts";
import { sweepCuts } from "./cuts.ts";
import { sufferEvil } from "./evil.ts";
import { sufferCrowd } from "./evil-crowd.ts";
import { type Figures, line, missed } from "./figures.ts";
import { killEverything } from "./kills.ts";
import { operate } from "./operating.ts";
import { killPulls } from "./pull-kills.ts";
import { keepSilent } from "./silences.ts";
import { stopDatabases } from "./stops.ts";
import type { Teardown } from "./subject.ts";

t.setTimeout(0);

const print = (text: string) => process.stdout.write(`${text}\n`);

type Series = (test: Teardown) => Promise<Figures>;

const every = Number.POSITIVE_INFINITY;
const series: Record<string, readonly Series[]> = {
  cuts: [
    (test) => sweepCuts(test, { inProcess: 2000, commands: 100, dead: 20 }, print),
    (test) => keepSilent(test, print),
  ],
  kill: [
    (test) => killEverything(test, { places: every, random: 100, commits: every }, print),
    (test) => killPulls(test, { places: every, random: 60 }, print),
    (test) => stopDatabases(test, { places: every, random: 12 }, print),
    (test) => operate(test, { rounds: 6 }, print),
  ],
  evil: [() => sufferEvil({ patient: true, every: 1 }, print)],
  badinput: [
    (test) => sendBadInputs(test, { healthySyncs: 20, patient: true }, print),
    (test) => sufferCrowd(test, 5, print),
    (test) => syncBesideAttacks(test, 20, print),
  ],
};

const name = process.argv[2] ?? "";
if (!Object.hasOwn(series, name)) {
  process.stderr.write(`There is no series ${name}; there are ${Object.keys(series).join(", ")}.\n`);
  process.exit(2);
}
const endings: (() => Promise<void>)[] = [];
try {
  for (const one of series[name]!) {
    const begun = performance.now();
    const figures = await one({ teardown: (work) => endings.push(work) });
    print(`${name}: ${line(figures)} (${Math.round((performance.now() - begun) / 1000)} s)`);
    if (missed(figures).length > 0) process.exitCode = 1;
  }
} finally {
  for (const end of endings.reverse()) await end();
}
