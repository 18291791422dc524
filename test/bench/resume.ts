/** A first copy that is killed five times. */
import { killedSync, sync } from "./measure.ts";
import { mb, round, type Scenario } from "./scenario.ts";
import { empty, makeParts, makeWorld } from "./world.ts";

const kills = 5;
const mostUnsaved = 1024 * 1024;

export const resume: Scenario = async (quick) => {
  const world = await makeWorld();
  await makeParts(world.primary, [world.secondary], "parts", quick ? 10_000 : 200_000, 1000, "noise");
  const { received: whole, runMs } = await sync(world);
  await empty(world.secondary);
  let received = 0;
  for (let i = 0; i < kills; i++) {
    // Once at random in each fifth of the transfer.
    const point = (whole * (i + Math.random())) / kills;
    received += await killedSync(world, Math.max(1, point - received));
  }
  received += (await sync(world)).received;
  const cost = (received - whole) / kills;
  const most = Math.max(mostUnsaved, (whole / runMs) * 300);
  return {
    figures: {
      killed: kills,
      received_mb: mb(received),
      one_run_mb: mb(whole),
      ratio: round(received / whole, 3),
      kb_a_kill: round(cost / 1024, 0),
      most_kb: round(most / 1024, 0),
    },
    must: "a kill costs what crosses in 0.3 s, or 1 MiB, at most",
    pass: cost <= most,
  };
};
