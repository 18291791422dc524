/** The second half of a schedule: nothing fails any more, and everything that is permitted must arrive. */
import { setAllowSync } from "../../src/slices/slice-store.ts";
import { setSubscriptionActive } from "../../src/subscriptions/subscription-store.ts";
import { contentOf } from "./oracle.ts";
import type { PrimaryNode } from "./primary-node.ts";
import { publish } from "./publish.ts";
import type { SecondaryNode } from "./secondary-node.ts";
import type { World } from "./world.ts";

/** Runs that a pair may take, and how long in virtual time. */
const mostRuns = 3;
const mostMs = 60_000;
/** Until whatever was going on has ended: what is silent is given up, what is locked is free again. */
const quietMs = 6 * 60_000;

export async function heal(world: World): Promise<void> {
  for (const { db } of [...world.primaries, ...world.secondaries]) {
    db.faults.diskFull = false;
    db.faults.loseCommit = undefined;
  }
  for (const primary of world.primaries) {
    primary.tokenMs = 3_600_000;
    if (!primary.up) primary.start();
  }
  await world.clock.wait(quietMs);
  for (const primary of world.primaries) {
    for (const slice of primary.tables.slices.values())
      if (!slice.allowSync) await setAllowSync(world.operator(primary.db), slice.key as never, true);
    for (const secondary of world.secondaries) {
      const id = world.companyOf(secondary);
      const company = primary.tables.companies.get(id)!;
      if (!company.active) world.write(primary.db, (tx) => tx.put("companies", id, { ...company, active: true }));
      secondary.apiKeys.set(primary, company.apiKey);
    }
  }
  for (const secondary of world.secondaries)
    for (const primary of world.primaries) await converge(world, secondary, primary);
  await world.clock.wait(quietMs);
}

async function converge(world: World, secondary: SecondaryNode, primary: PrimaryNode): Promise<void> {
  const owner = world.owners[world.numberOf(primary)]!;
  const begun = world.clock.nowMs;
  for (let n = 1; n <= mostRuns; n++) {
    for (const row of secondary.db.tables.subscriptions.values())
      if (row.company === primary.id && !row.active && row.offered)
        await setSubscriptionActive(world.operator(secondary.db), row.key, true);
    // Even: what the primary dropped is accepted. Not a multiple of three: no time to try again.
    const report = await world.sync(secondary, primary, 2);
    if (owner.hostile) {
      // It need not converge; but what it says of a small change is worth hearing.
      if (n === mostRuns) return;
      for (const slice of primary.tables.slices.values()) await publish(world, { primary, slice }, n, "some");
      continue;
    }
    const missing = permitted(world, secondary, primary).filter((id) => !equal(secondary, primary, id));
    if (report?.exitCode === 0 && missing.length === 0) {
      if (world.clock.nowMs - begun > mostMs)
        world.oracle.fail(`${secondary.name}: healing took ${world.clock.nowMs - begun} ms`);
      const company = world.companyOf(secondary);
      // A primary may still be noting what it was told when the partner has all it wants.
      while (primary.connections.size > 0) await world.clock.wait(10);
      world.oracle.atConverged(secondary.name, owner, company, secondary.db.tables, primary.tables);
      return;
    }
    world.note(`${secondary.name} is not healed: ${report?.exitCode} ${report?.error?.message} ${missing.join(" ")}`);
  }
  world.oracle.fail(`${secondary.name} does not converge with primary ${owner.number}`);
}

/** Slices that the partner may have. */
function permitted(world: World, secondary: SecondaryNode, primary: PrimaryNode): string[] {
  const company = world.companyOf(secondary);
  return [...primary.tables.subscriptions.values()]
    .filter((row) => row.company === company && row.active)
    .map((row) => primary.tables.slices.get(row.slice)!.id);
}

function equal(secondary: SecondaryNode, primary: PrimaryNode, id: string): boolean {
  const there = [...primary.tables.slices.values()].find((slice) => slice.id === id)!;
  const here = [...secondary.db.tables.slices.values()].find(
    (slice) => slice.id === id && slice.company === primary.id,
  );
  return here !== undefined && contentOf(secondary.db.tables, here) === contentOf(primary.tables, there);
}
