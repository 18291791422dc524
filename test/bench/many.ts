/** Many small slices: what each costs by itself. */
import { type Measured, sync } from "./measure.ts";
import { median, round, rounds, type Scenario } from "./scenario.ts";
import { change, empty, makeMany, makeWorld } from "./world.ts";

const offered = 100;
const changed = 3;

export const many: Scenario = async (quick) => {
  const count = quick ? 200 : 1000;
  const world = await makeWorld();
  await makeMany(world, count);
  const copies: Measured[] = [];
  for (let i = 0; i < rounds(quick); i++) {
    await empty(world.secondary);
    copies.push(await sync(world));
  }
  await makeWorld();
  const slices = await makeMany(world, offered);
  await sync(world);
  const updates: Measured[] = [];
  for (let i = 0; i < (quick ? 1 : 5); i++) {
    for (const slice of slices.slice(i * changed, (i + 1) * changed)) await change(world.primary, slice);
    updates.push(await sync(world));
  }
  const each = median(copies.map(({ runMs }) => runMs)) / count;
  // From the login to the very end of the process.
  const rest = median(updates.map(({ seen, endedMs }) => endedMs - seen[1]!.atMs));
  return {
    figures: { slices: count, ms_per_slice: round(each, 1), [`ms_for_${changed}_of_${offered}`]: round(rest, 0) },
    must: `first copy <= 8 ms a slice; ${changed} of ${offered} changed: <= 150 ms after the login`,
    pass: each <= 8 && rest <= 150,
  };
};
