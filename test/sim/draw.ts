/** Draws a schedule from one seed. */
import { Random } from "../harness/random.ts";
import { actionKinds } from "./actions.ts";
import type { Action, Plan } from "./plan.ts";

/** Actions that fall into the time of a run come within so many milliseconds after its start. */
const runMs = 400;

export function planOf(seed: number): Plan {
  const random = new Random(seed);
  const primaries = Array.from({ length: random.pick([1, 1, 1, 1, 2, 2, 3]) }, (_, i) => ({
    hostile: random.chance(i === 0 ? 0.15 : 0.6),
    slices: random.int(1, 3),
    grains: random.pick([0, 2, 6, 12, 20]),
  }));
  const secondaries = Array.from({ length: random.pick([1, 1, 1, 2, 2, 3]) }, () =>
    primaries.map(({ slices }) => random.int(1, 2 ** slices - 1)),
  );
  // A swarm: each kind of fault is on or off, with an intensity of its own.
  const on = new Map(
    Object.entries(actionKinds).map(([kind, { weight }]) => [
      kind,
      random.chance(0.5) ? weight * random.next() * 2 : 0,
    ]),
  );
  const actions: Action[] = [];
  const starts: number[] = [];
  const operations = random.int(1, 4);
  for (let i = 0; i < operations; i++) {
    const at = i * 600 + random.int(0, 500);
    starts.push(at);
    actions.push({ at, kind: "run", a: random.int(0, 99), b: random.int(0, 99), n: random.int(0, 999) });
  }
  const total = [...on.values()].reduce((sum, weight) => sum + weight, 0);
  const count = total === 0 ? 0 : random.int(3, 24);
  for (let i = 0; i < count; i++) {
    const kind = weighted(on, random.next() * total);
    // Most things happen while somebody syncs.
    const at = random.chance(0.8) ? random.pick(starts) + random.int(0, runMs) : random.int(0, operations * 600);
    actions.push({ at, kind, a: random.int(0, 99), b: random.int(0, 99), n: random.int(0, 999) });
  }
  return {
    seed,
    primaries,
    sameIds: random.chance(0.5),
    secondaries,
    dbMs: random.pick([0.5, 1, 3]),
    netMs: random.pick([1, 3, 10]),
    tokenMs: random.pick([150, 60_000, 60_000]),
    actions: actions.sort((a, b) => a.at - b.at),
  };
}

/** The one of these that `point` falls on when they lie side by side, each as long as its weight. */
function weighted(weights: ReadonlyMap<string, number>, point: number): string {
  let end = 0;
  for (const [name, weight] of weights) {
    end += weight;
    if (point < end) return name;
  }
  return "publish";
}
