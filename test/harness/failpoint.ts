/**
 * Loaded into the program by `node --import dist/test/harness/failpoint.js`; acts when a named step (src/step.ts) is reached.
 *
 *     SP_FP=NAME:N:ACTION   at the N-th NAME (from 1): kill (SIGKILL), exit (process.exit(1)), throw, sleep or sleep:MS (10 s
 *                           unless said otherwise; blocks the whole process). Several are separated by commas.
 *     SP_FP_FILE=FILE       the same from a file, once there is one: steps are counted from when it is first seen, so that one process is
 *                           well for a while and meets its fault then.
 *     SP_FP_LOG=FILE        appends a line "NAME N" for every step reached, so that a test learns which there are in a run.
 */
import { subscribe } from "node:diagnostics_channel";
import { appendFileSync, existsSync, readFileSync } from "node:fs";
import { type StepName, stepNames } from "../../src/step.ts";

type Action = (place: string) => void;

const actions: Record<string, (argument: string | undefined) => Action> = {
  kill: () => () => {
    process.kill(process.pid, "SIGKILL");
    block(60_000); // the signal comes when it comes; nothing more may be done until then
  },
  exit: () => () => process.exit(1),
  throw: () => (place) => {
    // A subscriber's exception is not thrown to the publisher: Node reports it as uncaught. That is the fault wanted.
    throw new Error(`failpoint ${place}`);
  },
  sleep: (argument) => () => block(argument === undefined ? 10_000 : Number(argument)),
};

const planned = new Map<string, Action>();
function plan(text: string): void {
  for (const item of text.split(",").filter((one) => one !== "")) {
    const [name, n, action, argument] = item.split(":");
    const make = Object.hasOwn(actions, action ?? "") ? actions[action!] : undefined;
    if (!stepNames.includes(name as StepName) || !/^[1-9]\d*$/.test(n ?? "") || make === undefined) {
      throw new Error(`SP_FP: ${item} is not STEP:N:kill|exit|throw|sleep[:MS]`);
    }
    planned.set(`${name} ${n}`, make(argument));
  }
}
plan(process.env.SP_FP ?? "");
const log = process.env.SP_FP_LOG;
let file = process.env.SP_FP_FILE;
/** Steps before the file was there, which do not count. */
const before = new Map<string, number>();

subscribe("sandpiper:step", (message) => {
  const { name, n } = message as { name: StepName; n: number };
  if (file !== undefined && existsSync(file)) {
    plan(readFileSync(file, "utf8"));
    file = undefined;
  } else if (file !== undefined) before.set(name, n);
  const place = `${name} ${n - (before.get(name) ?? 0)}`;
  if (log !== undefined) appendFileSync(log, `${place}\n`);
  if (file === undefined) planned.get(place)?.(place);
});

/** Blocks the thread, so that nothing at all goes on: no timer, no socket. */
function block(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}
