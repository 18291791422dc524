/** The scenarios. Each yields rows of figures, with what must be reached and whether it was. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Party } from "../integration/parties.ts";
import {
  baseline,
  drop,
  fill,
  fillLarge,
  forget,
  type Kind,
  makeSlice,
  makeWorld,
  median,
  settle,
  sync,
} from "./world.ts";

export interface Row {
  figures: Record<string, number | string>;
  must: string;
  pass: boolean;
}

export type Scenario = (quick: boolean) => AsyncGenerator<Row>;

const mb = (bytes: number) => Math.round(bytes / 1e6);
const round = (value: number, digits = 2) => Number(value.toFixed(digits));
const rounds = (quick: boolean) => (quick ? 1 : 3);

function check(code: number | null, stderr: string): void {
  if (code !== 0) throw new Error(`the sync ended with ${code}: ${stderr}`);
}

async function same(primary: Party, secondary: Party): Promise<void> {
  const hashes = async (party: Party) =>
    JSON.stringify(await (await party.db()).query("SELECT id, hash, content_count FROM slices ORDER BY id"));
  if ((await hashes(primary)) !== (await hashes(secondary))) throw new Error("the copy is not the same");
}

/** A first copy of `count` grains of `bytes` bytes, against COPY. */
async function firstCopy(count: number, bytes: number, kind: Kind, quick: boolean) {
  const { primary, secondaries } = await makeWorld();
  const [secondary] = secondaries as [Party];
  const key = await makeSlice(primary, "parts", secondaries);
  await fill(primary, key, 0, count, bytes, kind);
  const times: number[] = [];
  const floors: number[] = [];
  let rss = 0;
  let serverRss = 0;
  let wire = 0;
  for (let i = 0; i < rounds(quick); i++) {
    await settle(primary, secondary);
    floors.push(await baseline(primary));
    await settle(primary, secondary);
    const run = await sync(primary, secondary);
    check(run.code, run.stderr);
    await same(primary, secondary);
    times.push(run.ms);
    rss = Math.max(rss, run.rss);
    serverRss = Math.max(serverRss, run.serverRss);
    wire = run.summary.bytes_received!;
    await forget(secondary);
  }
  return { ms: median(times), floor: median(floors), rss, serverRss, wire, payload: count * bytes };
}

export const scenarios: Record<string, Scenario> = {
  async *initial(quick) {
    const r = await firstCopy(quick ? 20_000 : 200_000, 1000, "noise", quick);
    const ratio = r.ms / r.floor;
    yield {
      figures: {
        seconds: round(r.ms / 1000),
        baseline_seconds: round(r.floor / 1000),
        ratio: round(ratio),
        secondary_rss_mb: mb(r.rss),
        primary_rss_mb: mb(r.serverRss),
        wire_mb: mb(r.wire),
      },
      must: "ratio <= 1.35, RSS <= 220 MB",
      pass: ratio <= 1.35 && Math.max(r.rss, r.serverRss) <= 220e6,
    };
  },

  async *"initial-1m"(quick) {
    const r = await firstCopy(quick ? 50_000 : 1_000_000, 200, "xml", quick);
    const ratio = r.ms / r.floor;
    const share = r.wire / r.payload;
    yield {
      figures: {
        seconds: round(r.ms / 1000),
        baseline_seconds: round(r.floor / 1000),
        ratio: round(ratio),
        secondary_rss_mb: mb(r.rss),
        primary_rss_mb: mb(r.serverRss),
        wire_percent: round(share * 100, 1),
      },
      must: "ratio <= 1.6, RSS <= 300 MB, wire <= 40 % of payload",
      pass: ratio <= 1.6 && Math.max(r.rss, r.serverRss) <= 300e6 && share <= 0.4,
    };
  },

  async *delta(quick) {
    const count = quick ? 50_000 : 1_000_000;
    const { primary, secondaries } = await makeWorld();
    const [secondary] = secondaries as [Party];
    const key = await makeSlice(primary, "parts", secondaries);
    await fill(primary, key, 0, count, 200, "xml");
    const copy = await sync(primary, secondary);
    check(copy.code, copy.stderr);
    let next = count;
    const limits = { 10: 4_000, 1000: 100_000, 10000: 900_000 };
    for (const [changed, most] of Object.entries(limits).map(([k, v]) => [Number(k), v] as const)) {
      await drop(primary, key, next - count, changed);
      await fill(primary, key, next, changed, 200, "xml");
      next += changed;
      // A rehearsal finds the difference and fetches nothing: what it costs beyond one that finds none is the reconciliation. It also warms the primary's cache.
      const rehearsal = await sync(primary, secondary, ["--noupdate"]);
      check(rehearsal.code, rehearsal.stderr);
      const run = await sync(primary, secondary);
      check(run.code, run.stderr);
      await same(primary, secondary);
      const idle = await sync(primary, secondary, ["--noupdate"]);
      const bytes =
        rehearsal.summary.bytes_received! +
        rehearsal.summary.bytes_sent! -
        idle.summary.bytes_received! -
        idle.summary.bytes_sent! +
        8 * changed;
      yield {
        figures: {
          replaced: changed,
          reconciliation_bytes: bytes,
          seconds: round(run.ms / 1000),
          unchanged_seconds: round(idle.ms / 1000),
          total_bytes_received: run.summary.bytes_received!,
        },
        must: `<= ${most} bytes${changed === 10 ? ", <= 3 s" : ""}`,
        pass: bytes <= most && (changed !== 10 || run.ms <= 3000),
      };
    }
  },

  async *nochange(quick) {
    const slices = quick ? 100 : 1000;
    const { primary, secondaries } = await makeWorld();
    const [secondary] = secondaries as [Party];
    const db = await primary.db();
    await makeSlice(primary, "slice-0", secondaries);
    await db.run(
      `WITH made AS (INSERT INTO slices (company_id, id, name, name_key, slice_type, hash)
         SELECT company_id, gen_random_uuid(), 'slice-' || n, 'slice-' || n, slice_type, hash FROM slices, generate_series(1, $1::int - 1) n RETURNING slice_key, name)
       INSERT INTO subscriptions (company_id, id, slice_key, name, name_key) SELECT (SELECT company_id FROM subscriptions LIMIT 1), gen_random_uuid(), slice_key, name, name FROM made`,
      [slices],
    );
    const first = await sync(primary, secondary);
    check(first.code, first.stderr);
    const runs = [];
    for (let i = 0; i < 5; i++) runs.push(await sync(primary, secondary));
    const bytes = runs[0]!.summary.bytes_received! + runs[0]!.summary.bytes_sent!;
    const ms = median(runs.map((run) => run.summary.duration_ms!));
    yield {
      figures: {
        subscriptions: slices,
        bytes,
        sync_ms: ms,
        command_seconds: round(median(runs.map((run) => run.ms)) / 1000),
      },
      must: "<= 100 KB in all",
      pass: bytes <= 100_000 && runs[0]!.summary.unchanged === slices,
    };
  },

  async *large(quick) {
    const bytes = (quick ? 32 : 512) * 1024 * 1024;
    const { primary, secondaries } = await makeWorld();
    const [secondary] = secondaries as [Party];
    const key = await makeSlice(primary, "large", secondaries);
    await fillLarge(primary, key, bytes / 1048576);
    await settle(primary, secondary);
    const floor = await baseline(primary, ["grain_chunks", "grains"]);
    const run = await sync(primary, secondary);
    check(run.code, run.stderr);
    await same(primary, secondary);
    const ratio = run.ms / floor;
    yield {
      figures: {
        megabytes: mb(bytes),
        seconds: round(run.ms / 1000),
        baseline_seconds: round(floor / 1000),
        ratio: round(ratio),
        secondary_rss_mb: mb(run.rss),
        primary_rss_mb: mb(run.serverRss),
      },
      must: "ratio <= 2, RSS <= 220 MB",
      pass: ratio <= 2 && Math.max(run.rss, run.serverRss) <= 220e6,
    };
  },

  async *resume(quick) {
    const count = quick ? 20_000 : 200_000;
    const { primary, secondaries } = await makeWorld();
    const [secondary] = secondaries as [Party];
    const key = await makeSlice(primary, "parts", secondaries);
    await fill(primary, key, 0, count, 1000, "noise");
    const whole = await sync(primary, secondary);
    check(whole.code, whole.stderr);
    await forget(secondary);
    let received = 0;
    for (let i = 0; i < 5; i++) {
      const before = await served(primary);
      const run = secondary.start(["sync"], {});
      await sleep(whole.ms * (0.25 + 0.12 * i * Math.random()));
      run.kill("SIGKILL");
      await run.exited;
      received += (await served(primary)) - before;
    }
    const last = await sync(primary, secondary);
    check(last.code, last.stderr);
    await same(primary, secondary);
    received += last.summary.bytes_received!;
    const ratio = received / whole.summary.bytes_received!;
    yield {
      figures: {
        killed: 5,
        received_mb: mb(received),
        one_run_mb: mb(whole.summary.bytes_received!),
        ratio: round(ratio, 3),
      },
      must: "ratio <= 1.05",
      pass: ratio <= 1.05,
    };
  },
};

/** Bytes of frames that the primary has sent, from its log: more than what a killed secondary read, so the figure is an upper bound. */
async function served(primary: Party): Promise<number> {
  await sleep(500);
  const lines = primary
    .server!.stderr()
    .split("\n")
    .filter((line) => line.includes('"sync.'));
  return lines.reduce((sum, line) => sum + ((JSON.parse(line) as { bytes?: number }).bytes ?? 0), 0);
}
