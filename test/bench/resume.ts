/** A first copy that is killed five times. */
import { killedSync, sync } from "./measure.ts";
import { mb, round, type Scenario } from "./scenario.ts";
import { empty, makeParts, makeWorld } from "./world.ts";

const kills = 5;

export const resume: Scenario = async (quick) => {
  const world = await makeWorld();
  await makeParts(world.primary, [world.secondary], "parts", quick ? 10_000 : 200_000, 1000, "noise");
  const whole = (await sync(world)).received;
  await empty(world.secondary);
  let received = 0;
  for (let i = 0; i < kills; i++) {
    // Once at random in each fifth of the transfer.
    const point = (whole * (i + Math.random())) / kills;
    received += await killedSync(world, Math.max(1, point - received));
  }
  received += (await sync(world)).received;
  const ratio = received / whole;
  return {
    figures: { killed: kills, received_mb: mb(received), one_run_mb: mb(whole), ratio: round(ratio, 3) },
    must: "ratio <= 1.05",
    pass: ratio <= 1.05,
  };
};
