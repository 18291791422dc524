/** A primary that unfolds a few bytes to more than the disk of the secondary holds: it hurts nobody but itself. */
import { execFileSync } from "node:child_process";
import { mkdirSync, statfsSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { requireSecret } from "../../src/config.ts";
import type { CompanyId } from "../../src/slices/slice.ts";
import { requireSlice } from "../../src/slices/slice-store.ts";
import { addCompany, issueApiKey } from "../../src/subscriptions/company-store.ts";
import { addSubscription } from "../../src/subscriptions/subscription-store.ts";
import { type Outcome, type RunOptions, sandpiper } from "../harness/process.ts";
import { scratch } from "../harness/scratch.ts";
import { addLines, Party } from "./parties.ts";
import { UnfoldingPrimary, type UnfoldingSlice } from "./unfolding-primary.ts";

t.setTimeout(600_000);

const retailerId = "11111111-1111-4111-8111-111111111111" as CompanyId;

/** A file system of its own. @returns undefined where that takes more rights. */
async function smallDisk(test: Test, megabytes: number): Promise<string | undefined> {
  const mount = join(await scratch(test), "d");
  mkdirSync(mount);
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", `size=${megabytes}m,mode=755`, "tmpfs", mount], { stdio: "ignore" });
  } catch {
    return undefined;
  }
  test.teardown(async () => void execFileSync("umount", ["-l", mount]));
  return mount;
}

/** A secondary whose embedded database is on a small disk, with an honest primary and one that unfolds. */
class Retailer {
  private constructor(
    readonly directory: string,
    readonly honest: Party,
    readonly evil: UnfoldingPrimary,
  ) {}

  static async make(test: Test, megabytes: number, slices: UnfoldingSlice[]): Promise<Retailer | undefined> {
    const directory = await smallDisk(test, megabytes);
    if (directory === undefined) return undefined;
    const honest = await Party.make(test, "primary", "Prim");
    await honest.serve();
    const evil = await UnfoldingPrimary.start(test, retailerId, slices);
    const retailer = new Retailer(directory, honest, evil);
    await retailer.ok(["init", "--role", "secondary", "--company", "Retailer", "--server-id", retailerId]);
    const there = await honest.db();
    await addCompany(there, { id: retailerId, name: "Retailer" });
    const apiKey = await issueApiKey(there, retailerId, requireSecret(honest.config(), "api_key_hmac"));
    await retailer.register("Prim", honest.server!.url, apiKey);
    await retailer.register("Evil", evil.url, evil.apiKey);
    return retailer;
  }

  register(name: string, url: string, apiKey: string): Promise<Outcome> {
    return this.ok(["company", "add", name, "--sync-addr", url], { env: { SANDPIPER_API_KEY: apiKey } });
  }

  run(args: string[], options: RunOptions = {}): Promise<Outcome> {
    return sandpiper(args, { cwd: this.directory, timeoutMs: 240_000, ...options });
  }

  async ok(args: string[], options: RunOptions = {}): Promise<Outcome> {
    const outcome = await this.run(args, options);
    if (outcome.code !== 0) throw new Error(`sandpiper ${args.join(" ")}: ${outcome.code}\n${outcome.stderr}`);
    return outcome;
  }

  /** Offers a slice with `grains` grains of 1 kB at the honest primary. */
  async offer(name: string, grains: number): Promise<void> {
    await this.honest.ok(["slice", "add", name, "--type", "aces-items"]);
    await this.honest.batch(name, addLines(0, grains, 1000));
    const db = await this.honest.db();
    const { key } = await requireSlice(db, name);
    await addSubscription(db, { companyId: retailerId, sliceKey: key, name: `${name}-retailer` });
  }

  get freeMegabytes(): number {
    const { bavail, bsize } = statfsSync(this.directory);
    return Math.round((bavail * bsize) / 2 ** 20);
  }
}

const scenario = process.env.SCENARIO ?? "plain";
const scenarios: Record<string, { slices: UnfoldingSlice[]; env: Record<string, string> }> = {
  keys: {
    slices: Array.from({ length: 3 }, (_, n) => ({
      name: `fill-${n}`,
      grains: 150_000,
      payloadBytes: 0,
      keyBytes: 1000,
    })),
    env: {},
  },
  huge: {
    slices: Array.from({ length: 3 }, (_, n) => ({ name: `fill-${n}`, grains: 190, payloadBytes: 2 ** 20 })),
    env: { SANDPIPER_LIMITS_PRIMARY_BYTES: "1000000000000" },
  },
  hugekeys: {
    slices: Array.from({ length: 3 }, (_, n) => ({
      name: `fill-${n}`,
      grains: 150_000,
      payloadBytes: 0,
      keyBytes: 1000,
    })),
    env: { SANDPIPER_LIMITS_PRIMARY_BYTES: "1000000000000" },
  },
  meta: {
    slices: Array.from({ length: 60 }, (_, n) => ({
      name: `fill-${n}`,
      grains: 1,
      payloadBytes: 10,
      metadataBytes: 4e6,
    })),
    env: {},
  },
};

t.test("slices that unfold, one after another", async (t) => {
  const { slices, env } = scenarios[scenario]!;
  const retailer = await Retailer.make(t, 420, slices);
  if (retailer === undefined) {
    t.skip("a small file system cannot be mounted here, which takes root", () => {});
    return;
  }
  console.error("free", retailer.freeMegabytes);
  await retailer.offer("large", 20_000);
  await retailer.offer("small", 10);
  for (const jobs of ["1", "4", "1"]) {
    let least = 1000;
    const timer = setInterval(() => {
      least = Math.min(least, retailer.freeMegabytes);
    }, 5);
    const run = await retailer.run(["sync", "--retry-for", "0", "--jobs", jobs], { env });
    clearInterval(timer);
    console.error(
      run.code,
      run.stdout,
      run.stderr,
      "free",
      retailer.freeMegabytes,
      "least",
      least,
      retailer.evil.sentBytes,
    );
    console.error(
      execFileSync("bash", [
        "-c",
        `cd ${retailer.directory}/sandpiper-data/postgres; du -sm pg_wal base; find base -type f -size +2M -printf '%s %p\n' | sort -rn | head -12`,
      ]).toString(),
    );
  }
  t.pass();
});
