/** A primary that unfolds a few bytes to more than the disk of the secondary holds: it hurts nobody but itself. */
import t, { type Test } from "tap";
import { addCompany, issueApiKey } from "../../src/companies/company-store.ts";
import { requireSecret } from "../../src/config/secrets.ts";
import type { CompanyId } from "../../src/ids.ts";
import { requireSlice } from "../../src/slices/slice-store.ts";
import { addSubscription } from "../../src/subscriptions/subscription-store.ts";
import { type Outcome, type RunOptions, sandpiper } from "../harness/process.ts";
import { freeOn, noSmallDisk, smallDisk } from "../harness/small-disk.ts";
import { addLines, events, Party } from "./parties.ts";
import { UnfoldingPrimary, type UnfoldingSlice } from "./unfolding-primary.ts";

t.setTimeout(600_000);

const mib = 2 ** 20;
const retailerId = "11111111-1111-4111-8111-111111111111" as CompanyId;

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

  /** Grains of the slices that hold any. */
  async counts(): Promise<Record<string, number>> {
    const { stdout } = await this.ok(["slice", "list", "--json"]);
    const slices = JSON.parse(stdout) as { name: string; grains: number }[];
    return Object.fromEntries(slices.filter(({ grains }) => grains > 0).map(({ name, grains }) => [name, grains]));
  }
}

/** How the slices of one primary fared in a run of `sync --json`, by subscription, and how the run with it ended. */
function fared(stdout: string, company: string) {
  const all = events(stdout).filter((event) => event.company === company);
  const slices = all.filter(({ event }) => event === "slice");
  return {
    slices: Object.fromEntries(slices.map((one) => [one.subscription, one.error?.code ?? one.outcome])),
    exit: all.find(({ event }) => event === "partner")?.exit_code,
  };
}

t.test("a primary that unfolds more than the disk holds, slice after slice", async (t) => {
  const fills = Array.from({ length: 4 }, (_, n) => ({ name: `fill-${n}`, grains: 90, payloadBytes: mib }));
  const retailer = await Retailer.make(t, 420, fills);
  if (retailer === undefined) {
    t.skip(noSmallDisk, () => {});
    return;
  }
  const { honest, evil } = retailer;
  await retailer.offer("large", 10_000);
  await retailer.offer("small", 10);
  const refused = Object.fromEntries(fills.map(({ name }) => [name, "unavailable"]));

  const first = await retailer.run(["sync", "--json", "--retry-for", "0", "--jobs", "1"]);
  t.equal(first.code, 3, first.stdout + first.stderr);
  t.same(fared(first.stdout, "Evil"), { slices: refused, exit: 3 });
  t.same(fared(first.stdout, "Prim"), {
    slices: { "large-retailer": "updated", "small-retailer": "updated" },
    exit: 0,
  });
  t.ok(evil.sentBytes < mib, `all that from ${evil.sentBytes} bytes`);

  // Side by side, while the honest primary has something new, and with slices that say themselves that they are too large.
  evil.slices = [
    ...fills,
    { name: "absurd", grains: 40_000_000, payloadBytes: mib },
    { name: "too-large", grains: 300, payloadBytes: mib },
    { name: "long", grains: 1, payloadBytes: 1, sends: 0, metadataBytes: 900_000 },
  ];
  await honest.batch("large", addLines(20_000, 10_000, 1000));
  const second = await retailer.run(["sync", "--json", "--retry-for", "0"]);
  t.equal(second.code, 11, second.stdout + second.stderr);
  t.same(fared(second.stdout, "Evil"), {
    slices: { ...refused, absurd: "limit", "too-large": "limit", long: "unavailable" },
    exit: 11,
  });
  t.same(fared(second.stdout, "Prim"), { slices: { "large-retailer": "updated" }, exit: 0 });

  const free = freeOn(retailer.directory);
  t.ok(free > 40 * mib, `${free} bytes are free`);
  t.same(await retailer.counts(), { large: 20_000, small: 10 }, "the database starts, and all is there");
});
