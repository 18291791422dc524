/** First copies, against COPY. */
import { baseline, type Measured, sync } from "./measure.ts";
import { mb, median, round, rounds, type Scenario, seconds } from "./scenario.ts";
import { type Condition, empty, makeLarge, makeParts, makeWorld, prepare, type World } from "./world.ts";

/** Copies all that the primary has, in turn with the floor, which is measured in the same condition. */
async function measureCopies(world: World, times: number, condition: Condition = "settled") {
  const floors: number[] = [];
  const runs: Measured[] = [];
  for (let i = 0; i < times; i++) {
    await empty(world.secondary);
    await prepare(world, condition);
    floors.push(await baseline(world.primary));
    await prepare(world, condition);
    runs.push(await sync(world));
  }
  const durations = runs.map((run) => run.ms);
  const ratio = median(durations) / median(floors);
  const rss = Math.max(...runs.map((run) => run.rss));
  const serverRss = Math.max(...runs.map((run) => run.serverRss));
  return {
    ratio,
    mostRss: Math.max(rss, serverRss),
    received: runs[0]!.received,
    figures: {
      seconds: seconds(durations),
      baseline_seconds: seconds(floors),
      ratio: round(ratio),
      secondary_rss_mb: mb(rss),
      primary_rss_mb: mb(serverRss),
    },
  };
}

export const initial =
  (condition: Condition): Scenario =>
  async (quick) => {
    const world = await makeWorld();
    await makeParts(world.primary, [world.secondary], "parts", quick ? 20_000 : 200_000, 1000, "noise");
    const { ratio, mostRss, received, figures } = await measureCopies(world, rounds(quick), condition);
    return {
      figures: { ...figures, wire_mb: mb(received) },
      must: "ratio <= 1.35, RSS <= 220 MB",
      pass: ratio <= 1.35 && mostRss <= 220e6,
    };
  };

export const initial1m =
  (condition: Condition): Scenario =>
  async (quick) => {
    const world = await makeWorld();
    const count = quick ? 30_000 : 1_000_000;
    await makeParts(world.primary, [world.secondary], "parts", count, 200, "xml");
    const { ratio, mostRss, received, figures } = await measureCopies(world, rounds(quick), condition);
    const share = received / (count * 200);
    return {
      figures: { ...figures, wire_percent: round(share * 100, 1) },
      must: "ratio <= 1.5, RSS <= 220 MB, wire <= 25 % of payload",
      pass: ratio <= 1.5 && mostRss <= 220e6 && share <= 0.25,
    };
  };

export const large: Scenario = async (quick) => {
  const world = await makeWorld();
  const megabytes = quick ? 16 : 512;
  await makeLarge(world, megabytes);
  const { ratio, mostRss, figures } = await measureCopies(world, rounds(quick));
  return {
    figures: { megabytes, ...figures },
    must: "ratio <= 2, RSS <= 220 MB",
    pass: ratio <= 2 && mostRss <= 220e6,
  };
};
