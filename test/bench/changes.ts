/** What it costs to find out what has changed, and that nothing has. */
import { type Measured, roundTrips, sync } from "./measure.ts";
import type { Seen } from "./observe.ts";
import { mb, median, round, rounds, type Scenario, seconds, sum } from "./scenario.ts";
import {
  type Condition,
  empty,
  makeEmpty,
  makeParts,
  makeSingle,
  makeWorld,
  type Parts,
  prepare,
  replace,
  type World,
} from "./world.ts";

/** From the comparison's answer to the request for grains, that with all that it names included. */
function reconciliation(seen: Seen[]): { bytes: number; trips: number } {
  const asked = seen.findIndex(({ what }) => what === "fetch");
  const answered = seen.findIndex(({ way }, i) => i > asked && way === "in");
  const part = seen.slice(seen.findIndex(({ what }) => what === "compared") + 1, answered);
  return { bytes: sum(part.map(({ bytes }) => bytes)), trips: roundTrips(part) };
}

const mostBytes = { 10: 4_000, 1000: 110_000, 10000: 1_000_000 };

export const delta =
  (condition: Condition): Scenario =>
  async (quick) => {
    const world = await makeWorld();
    const parts = await makeParts(world.primary, [world.secondary], "parts", quick ? 30_000 : 1_000_000, 200, "xml");
    const few = await makeParts(world.primary, [world.secondary], "few", 10_000, 200, "xml");
    await sync(world);
    const figures: Record<string, number> = {};
    const idle: number[] = [];
    const small: number[] = [];
    let pass = true;
    const times = new Map<number, number[]>();
    for (let i = 0; i < rounds(quick); i++) {
      for (const [changed, most] of Object.entries(mostBytes).map(([key, value]) => [Number(key), value] as const)) {
        await replace(world.primary, parts, changed);
        if (condition === "cold") await prepare(world, condition);
        const run = await sync(world);
        const { bytes, trips } = reconciliation(run.seen);
        times.set(changed, [...(times.get(changed) ?? []), run.ms]);
        figures[`bytes_${changed}`] = Math.max(bytes, figures[`bytes_${changed}`] ?? 0);
        figures[`round_trips_${changed}`] = Math.max(trips, figures[`round_trips_${changed}`] ?? 0);
        pass &&= bytes > 0 && bytes <= most && trips > 0 && trips <= 4;
      }
      await replace(world.primary, few, 10);
      if (condition === "cold") await prepare(world, condition);
      small.push((await sync(world)).ms);
      idle.push((await sync(world)).ms);
    }
    for (const [changed, ms] of times) figures[`seconds_${changed}`] = seconds(ms);
    figures.seconds_10_of_10000 = seconds(small);
    figures.seconds_unchanged = seconds(idle);
    figures.ratio = round(median(times.get(10)!) / median(small));
    return {
      figures,
      must: "10: <= 4 KB, <= 0.9 s, <= 1.3 x as long as 10 of 10,000; 1,000: <= 110 KB; 10,000: <= 1,000 KB; each <= 4 round trips",
      pass: pass && figures.seconds_10! <= 0.9 && figures.ratio <= 1.3,
    };
  };

/** What `nochange` promises, in the order in which it happens. */
const noChange = ["POST /v1/login", "200", "GET /v1/sync/subs", "304", "GET /v1/sync", "101"];

export const nochange: Scenario = async (quick) => {
  const count = quick ? 100 : 1000;
  const world = await makeWorld();
  await makeEmpty(world, count);
  const single = await makeSingle(world, "slice-0");
  await sync(world);
  await sync(single);
  const runs: Measured[] = [];
  const singles: Measured[] = [];
  for (let i = 0; i < (quick ? 1 : 5); i++) {
    runs.push(await sync(world));
    singles.push(await sync(single));
  }
  const whole = median(runs.map(({ ms }) => ms)) / median(singles.map(({ ms }) => ms));
  const asked = runs.every(({ seen }) => noChange.every((what, i) => seen[i]?.what === what));
  const trips = Math.max(...runs.map(({ seen }) => roundTrips(seen.slice(noChange.length))));
  const requests = Math.max(...runs.map(({ seen }) => seen.filter(({ what }) => what.includes("/")).length));
  const bytes = Math.max(...runs.map(({ traffic }) => traffic));
  const login = median(runs.map(({ seen }) => seen[1]!.atMs - seen[0]!.atMs));
  // To the very end of the process, with everything that it closes.
  const rest = median(runs.map(({ seen, endedMs }) => endedMs - seen[1]!.atMs));
  return {
    figures: {
      subscriptions: count,
      requests,
      websocket_round_trips: trips,
      bytes,
      login_ms: round(login, 1),
      rest_ms: round(rest, 1),
      command_seconds: seconds(runs.map(({ ms }) => ms)),
      seconds_of_one: seconds(singles.map(({ ms }) => ms)),
      ratio: round(whole),
    },
    must: "login, one 304, one upgrade, one websocket round trip; <= 100 KB in all; the whole command <= 1.3 x that with one subscription",
    pass:
      asked &&
      requests === 3 &&
      trips === 1 &&
      bytes <= 100_000 &&
      whole <= 1.3 &&
      runs.every(({ unchanged }) => unchanged === count),
  };
};

/** Lets the secondary have this slice alone. */
async function offerOnly({ primary }: World, { slice }: Parts): Promise<void> {
  await (await primary.db()).run("UPDATE subscriptions SET active = (slice_key = $1), updated_at = now()", [slice.key]);
}

export const growth: Scenario = async (quick) => {
  const sizes = quick ? [2_000, 20_000] : [10_000, 100_000, 1_000_000];
  const world = await makeWorld();
  const all: { parts: Parts; size: number; first: number[]; changed: number[]; bytes: number[] }[] = [];
  for (const size of sizes) {
    const parts = await makeParts(world.primary, [world.secondary], `parts-${size}`, size, 200, "xml");
    all.push({ parts, size, first: [], changed: [], bytes: [] });
  }
  for (let i = 0; i < rounds(quick); i++) {
    for (const { parts, first, changed, bytes } of all) {
      await offerOnly(world, parts);
      await empty(world.secondary);
      first.push((await sync(world)).runMs);
      await replace(world.primary, parts, 10);
      await prepare(world, "settled");
      const run = await sync(world);
      changed.push(run.runMs);
      bytes.push(run.traffic);
    }
  }
  const figures: Record<string, number> = {};
  for (const { size, first, changed, bytes } of all) {
    figures[`us_per_grain_${size}`] = round((median(first) * 1000) / size, 1);
    figures[`delta_seconds_${size}`] = seconds(changed);
    figures[`delta_bytes_${size}`] = median(bytes);
  }
  const [middle, last] = all.slice(-2) as [(typeof all)[0], (typeof all)[0]];
  const perGrain = median(last.first) / last.size / (median(middle.first) / middle.size);
  const deltas = all.map(({ bytes }) => median(bytes));
  const spread = Math.max(...deltas) / Math.min(...deltas);
  const slower = median(last.changed) / median(middle.changed);
  return {
    figures: {
      ...figures,
      per_grain_ratio: round(perGrain),
      delta_bytes_ratio: round(spread),
      delta_time_ratio: round(slower),
    },
    must: "cost per grain <= 1.3 x that of a tenth; delta of 10: bytes within 20 %, time grows slower than the slice",
    pass: perGrain <= 1.3 && spread <= 1.2 && slower < last.size / middle.size,
  };
};

/** Ten million small grains on both sides, of which five are replaced; in turn with a million. */
export const huge: Scenario = async () => {
  const world = await makeWorld();
  const all: { parts: Parts; ms: number[]; rss: number[] }[] = [];
  for (const size of [1_000_000, 10_000_000])
    all.push({
      parts: await makeParts(world.primary, [world.secondary], `parts-${size}`, size, 100, "xml"),
      ms: [],
      rss: [],
    });
  await sync(world);
  for (let i = 0; i < 3; i++) {
    for (const { parts, ms, rss } of all) {
      await replace(world.primary, parts, 5);
      const run = await sync(world);
      ms.push(run.ms);
      rss.push(run.rss);
    }
  }
  const [few, many] = all as [(typeof all)[0], (typeof all)[0]];
  const ratio = round(median(many.ms) / median(few.ms));
  return {
    figures: { seconds: seconds(many.ms), seconds_1m: seconds(few.ms), ratio, rss_mb: mb(Math.max(...many.rss)) },
    must: "<= 1.5 x as long as with 1,000,000; <= 220 MB",
    pass: ratio <= 1.5 && Math.max(...many.rss) <= 220e6,
  };
};
