/** Running the real command, and the floor that it is compared with. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { readServer } from "../../src/companies/company-store.ts";
import type { Database } from "../../src/database/database.ts";
import { createTestDatabase } from "../harness/test-database.ts";
import { events, type Party } from "../integration/parties.ts";
import type { Observed, Seen } from "./observe.ts";
import { asOwner, type World } from "./world.ts";

export interface Measured {
  /** Of the whole command, and of what it did after node had started. */
  ms: number;
  runMs: number;
  /** High-water mark of the command and of the server, in bytes. */
  rss: number;
  serverRss: number;
  /** Bytes read from the socket to the primary. */
  received: number;
  /** Both ways, as the command counts them. */
  traffic: number;
  unchanged: number;
  endedMs: number;
  seen: Seen[];
}

const observe = new URL("./observe.js", import.meta.url).href;
const observed = (secondary: Party) => join(secondary.directory, "observed");
const optionsOf = (secondary: Party, env: Record<string, string> = {}) => ({
  nodeArgs: ["--import", observe],
  env: { SP_OBSERVE: observed(secondary), ...env },
});

/** Runs the real `sandpiper sync`, which must succeed and, unless it is a rehearsal, end with the same on both sides. */
export async function sync(world: World, ...args: string[]): Promise<Measured> {
  const { primary, secondary } = world;
  const started = performance.now();
  const { code, stdout, stderr } = await secondary.run(["sync", "--json", ...args], {
    ...optionsOf(secondary),
    timeoutMs: 600_000,
  });
  const ms = performance.now() - started;
  if (code !== 0) throw new Error(`the sync ended with ${code}: ${stderr}`);
  if (args.length === 0) await requireSame(world);
  const { bytes_received, bytes_sent, duration_ms, unchanged } = events(stdout).at(-1);
  return {
    ms,
    runMs: duration_ms,
    serverRss: highWater(primary.server!.pid),
    received: readReceived(secondary),
    traffic: bytes_received + bytes_sent,
    unchanged,
    ...(JSON.parse(readFileSync(`${observed(secondary)}.json`, "utf8")) as Observed),
  };
}

/** Runs it until it has received `bytes` and is killed. @returns the bytes that it has read. */
export async function killedSync({ secondary }: World, bytes: number): Promise<number> {
  const options = optionsOf(secondary, { SP_KILL_AT: String(Math.round(bytes)) });
  const { code, signal } = await secondary.run(["sync", "--json"], { ...options, timeoutMs: 600_000 });
  if (signal !== "SIGKILL") throw new Error(`the sync was to be killed, and ended with ${code}`);
  return readReceived(secondary);
}

const readReceived = (secondary: Party): number =>
  Number(readFileSync(`${observed(secondary)}.bytes`).readBigUInt64LE());

/** The secondary holds what it subscribes to, as the primary has it. */
async function requireSame({ primary, secondary }: World): Promise<void> {
  const [here, there] = [await secondary.db(), await primary.db()];
  const slices = async (db: Database, company: string) =>
    JSON.stringify(
      await db.query(
        `SELECT s.id, hash, content_count FROM slices s JOIN subscriptions u ON u.slice_key = s.slice_key WHERE u.active AND u.company_id = $1 ORDER BY s.id`,
        [company],
      ),
    );
  const [us, them] = [(await readServer(here)).serverId, (await readServer(there)).serverId];
  if ((await slices(here, them)) !== (await slices(there, us))) throw new Error("the copy is not the same");
}

/** VmHWM of a process, in bytes. */
export const highWater = (pid: number): number =>
  Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) * 1024;

/** How often an answer came to what was asked, in this part of what was seen. */
export const roundTrips = (seen: Seen[]): number =>
  seen.filter(({ way }, i) => way === "in" && seen[i - 1]?.way === "out").length;

/** The floor: binary COPY out of the primary's tables into an empty database of the same columns and indexes. @returns milliseconds. */
export async function baseline(primary: Party): Promise<number> {
  const target = await createTestDatabase("baseline");
  const ms = await asOwner(target.url, (into) =>
    asOwner(primary.database.url, async (from) => {
      const tables = ["grains", "grain_chunks"];
      for (const table of tables)
        await into.run(
          `CREATE TABLE ${table}_copy (LIKE ${table} INCLUDING INDEXES INCLUDING CONSTRAINTS INCLUDING STORAGE)`,
        );
      const started = performance.now();
      for (const table of tables) {
        await from.transaction((source) =>
          into.session(async (sink) => {
            // As the rows lie in the file: it is the floor.
            await source.run("SET LOCAL enable_seqscan = on");
            await pipeline(
              source.copyOut(`COPY (SELECT * FROM ${table}) TO STDOUT (FORMAT binary)`),
              sink.copyIn(`COPY ${table}_copy FROM STDIN (FORMAT binary)`),
            );
          }),
        );
      }
      return performance.now() - started;
    }),
  );
  await target.drop();
  return ms;
}
