/** One schedule from beginning to end: everybody is given something, faults and syncs come as planned, and then all heals. */
import { asSandpiperError, SandpiperError } from "../../src/errors.ts";
import { addSlice } from "../../src/slices/slice-store.ts";
import { actionKinds } from "./actions.ts";
import { heal } from "./heal.ts";
import { idOf } from "./names.ts";
import type { Action, Plan } from "./plan.ts";
import { publish } from "./publish.ts";
import { World } from "./world.ts";

/** A schedule has to end in so much virtual time and so many events. */
const mostMs = 4 * 3_600_000;
const mostEvents = 400_000;

export interface Outcome {
  violations: string[];
  /** Names of what happened, and how often. */
  events: ReadonlyMap<string, number>;
  /** Faults and operators' acts that came. */
  actions: number;
  /** Stands for everything that happened, and when. */
  trace: number;
  /** What happened, line by line, if it was asked for. */
  lines: readonly string[];
}

/** Runs a plan. @param traced keeps what happens, line by line. @param watch is shown the world before anything happens. */
export async function simulate(plan: Plan, traced = false, watch: (world: World) => void = () => {}): Promise<Outcome> {
  const world = new World(plan, traced);
  watch(world);
  const { oracle, clock } = world;
  await finish(world, populate(world), "the beginning");
  let actions = 0;
  for (const action of plan.actions)
    clock.after(action.at, () => {
      if (action.kind !== "run") actions++;
      act(world, action);
    });
  await finish(world, clock.wait((plan.actions.at(-1)?.at ?? 0) + 1000), "the schedule");
  if (oracle.violations.length === 0) await finish(world, heal(world), "healing");
  if (oracle.violations.length === 0) world.checkEnd();
  return { violations: oracle.violations, events: world.events, actions, trace: world.trace, lines: world.lines };
}

/** Companies, slices with grains, and subscriptions, as the plan says. */
async function populate(world: World): Promise<void> {
  const { plan } = world;
  for (const [i, primary] of world.primaries.entries()) {
    const owner = { id: primary.id, name: `primary ${i}`, active: true, apiKey: "", etag: null };
    world.write(primary.db, (tx) => tx.put("companies", primary.id, owner));
    for (const secondary of world.secondaries) {
      const id = world.companyOf(secondary);
      const apiKey = `first key of ${id}`;
      const partner = { id, name: secondary.name, active: true, apiKey, etag: null };
      world.write(primary.db, (tx) => tx.put("companies", id, partner));
      world.write(secondary.db, (tx) => tx.put("companies", primary.id, owner));
      secondary.apiKeys.set(primary, apiKey);
    }
    const { slices, grains } = plan.primaries[i]!;
    for (let place = 0; place < slices; place++) {
      const id = idOf(3, plan.sameIds ? 0 : i + 1, place);
      const input = { companyId: primary.id, id, name: `Slice ${place}`, type: "aces-items" };
      const { key } = await addSlice(world.operator(primary.db), input);
      await publish(world, { primary, slice: primary.tables.slices.get(key) }, grains, "first");
      for (const [n, secondary] of world.secondaries.entries())
        if ((plan.secondaries[n]![i]! >> place) & 1) await world.offer(primary, secondary, key);
    }
  }
}

function act(world: World, action: Action): void {
  world.note(`${action.kind} ${action.a} ${action.b} ${action.n}`);
  if (action.kind === "run") {
    const secondary = world.secondaries[action.a % world.secondaries.length]!;
    for (const primary of world.primaries) void world.sync(secondary, primary, action.n);
    return;
  }
  Promise.resolve(actionKinds[action.kind]!.act(world, action)).catch((error: unknown) => {
    // A command may fail when its database does.
    if (!(error instanceof SandpiperError) || asSandpiperError(error).code === "internal")
      world.oracle.fail(`${action.kind}: ${(error as Error).stack}`);
  });
}

/** Lets time pass until the work is done, or the oracle has seen something. */
async function finish(world: World, work: Promise<unknown>, what: string): Promise<void> {
  const { clock, oracle } = world;
  let done = false;
  work.then(
    () => {
      done = true;
    },
    (error) => oracle.fail(`${what}: ${(error as Error).stack}`),
  );
  const over = () => done || oracle.violations.length > 0;
  if (!(await clock.run(over, clock.nowMs + mostMs, mostEvents)))
    oracle.fail(`${what} does not end (${clock.events} events, ${clock.planned} planned)`);
}
