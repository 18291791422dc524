/**
 * The rules of subscriptions: what a list from a primary changes here. Pure: it looks at what is on file and
 * at what is offered, and says what to do; plan-store.ts does it.
 *
 * - Company ids are swapped: an offer says which partner of the primary it is for (us), our row says which primary it is from.
 * - What is new is added, with its slice. What is gone is marked withdrawn, its data kept; it is cleared when it reappears.
 * - Switched off there is switched off here. Switched on there changes nothing here: our own switch decides whether we try.
 * - A name that is taken here gets the id appended. It never fails a sync.
 * - A slice that is offered under another id than before has one subscription, the new one, which is on or off here as the old one was.
 * - When more than half disappear at once, nothing is marked: a wrong empty list must not switch a catalogue off.
 */
import { fitForName } from "../../characters.ts";
import type { Subscription } from "../../companies/company.ts";
import { maxNameLength, nameKey, nameProblem } from "../../names.ts";

/** A subscription as a primary lists it. */
export interface Offer {
  id: string;
  name: string;
  description: string;
  active: boolean;
  slice: { id: string; name: string; type: string };
}

/** A slice of this primary that is on file here. */
export interface KnownSlice {
  id: string;
  name: string;
  type: string;
}

export interface SubscriptionPlan {
  addSlices: { id: string; name: string; type: string }[];
  changeSlices: { id: string; name: string; type: string }[];
  /** Subscriptions whose slice is offered under another id now; to be removed before the others are added. */
  replace: Subscription[];
  add: { id: string; sliceId: string; name: string; description: string; active: boolean; offered: boolean }[];
  /** The full new state of subscriptions that differ from their offer. */
  change: {
    id: string;
    sliceId: string;
    name: string;
    description: string;
    active: boolean;
    offered: boolean;
    restored: boolean;
  }[];
  withdraw: Subscription[];
  /** What the operator should know, a line each, without a full stop. */
  notices: string[];
  /** Subscriptions that were switched off or withdrawn in this very run. */
  lost: number;
  /** Set when more than half disappeared: how many of how many. Nothing else is planned then. */
  massWithdrawal?: { gone: number; of: number };
}

/** The plan that changes nothing. */
const nothingNew = (): SubscriptionPlan => ({
  addSlices: [],
  changeSlices: [],
  replace: [],
  add: [],
  change: [],
  withdraw: [],
  notices: [],
  lost: 0,
});

/**
 * @param local what is on file for this primary.
 * @param offers what it lists; ids and slice ids are distinct.
 * @param slices its slices on file, whether or not a subscription points to them.
 * @param taken folded names (see nameKey) of all subscriptions and slices on file, of every company.
 * @param allowDrops the operator accepts that more than half disappear.
 */
export function planSubscriptions(
  local: readonly Subscription[],
  offers: readonly Offer[],
  slices: readonly KnownSlice[],
  taken: { subscriptions: ReadonlySet<string>; slices: ReadonlySet<string> },
  allowDrops = false,
): SubscriptionPlan {
  const plan = nothingNew();
  const offered = new Set(offers.map((offer) => offer.id));
  const offeredSlices = new Set(offers.map((offer) => offer.slice.id));
  const replaced = new Map(
    local.filter((row) => !offered.has(row.id) && offeredSlices.has(row.sliceId)).map((row) => [row.sliceId, row]),
  );
  const present = local.filter((row) => row.withdrawnAt === null);
  const gone = present.filter((row) => !offered.has(row.id) && !offeredSlices.has(row.sliceId));
  if (gone.length * 2 > present.length && !allowDrops) {
    return { ...plan, massWithdrawal: { gone: gone.length, of: present.length } };
  }
  const knownSlices = new Map(slices.map((slice) => [slice.id, slice]));
  const byId = new Map(local.map((row) => [row.id, row]));

  const sliceNames = settleNames(
    offers.map((offer) => offer.slice),
    knownSlices,
    taken.slices,
  );
  const freed = new Set([...replaced.values()].map((row) => nameKey(row.name)));
  const stillTaken = new Set([...taken.subscriptions].filter((name) => !freed.has(name)));
  const subscriptionNames = settleNames(offers, byId, stillTaken);
  plan.replace = [...replaced.values()];

  for (const { slice } of offers) {
    const known = knownSlices.get(slice.id);
    const name = sliceNames.get(slice.id)!;
    if (known === undefined) plan.addSlices.push({ id: slice.id, name, type: slice.type });
    else if (known.name !== name || known.type !== slice.type)
      plan.changeSlices.push({ id: slice.id, name, type: slice.type });
  }
  for (const offer of offers) {
    const row = byId.get(offer.id);
    const name = subscriptionNames.get(offer.id)!;
    if (row === undefined) {
      const old = replaced.get(offer.slice.id);
      plan.add.push({
        id: offer.id,
        sliceId: offer.slice.id,
        name,
        description: offer.description,
        active: offer.active && (old?.active ?? true),
        offered: offer.active,
      });
      plan.notices.push(
        `new subscription ${name}${old === undefined ? "" : ` in place of ${old.name}`}${offer.active ? "" : " (switched off at the primary)"}`,
      );
      continue;
    }
    const switchedOff = row.active && !offer.active;
    const restored = row.withdrawnAt !== null;
    const next = {
      id: row.id,
      sliceId: offer.slice.id,
      name,
      description: offer.description,
      active: row.active && offer.active,
      offered: offer.active,
      restored,
    };
    const same =
      row.sliceId === next.sliceId &&
      row.name === name &&
      row.description === next.description &&
      row.active === next.active &&
      row.offered === next.offered;
    if (same && !restored) continue;
    plan.change.push(next);
    if (restored) plan.notices.push(`subscription ${name} is back`);
    if (switchedOff) {
      plan.notices.push(`subscription ${name} was switched off by the primary`);
      plan.lost++;
    }
    if (row.sliceId !== next.sliceId) plan.notices.push(`subscription ${name} now stands for another slice`);
    if (row.name !== name) plan.notices.push(`subscription ${row.name} is now called ${name}`);
  }
  for (const row of gone) {
    plan.withdraw.push(row);
    plan.notices.push(`subscription ${row.name} was withdrawn by the primary; its data is kept`);
    plan.lost++;
  }
  return plan;
}

type Named = { readonly id: string; readonly name: string };

/**
 * The names to use here for what a primary calls `wanted`, by id. Settled: asked again with these on file, it gives the same,
 * so that names do not wander from run to run when one that is taken becomes free within the same list.
 */
function settleNames(
  wanted: readonly Named[],
  onFile: ReadonlyMap<string, Named>,
  taken: ReadonlySet<string>,
): ReadonlyMap<string, string> {
  let names = new Map<string, string>();
  const others = new Set(taken);
  for (const { id } of wanted) {
    const current = onFile.get(id)?.name;
    if (current === undefined) continue;
    names.set(id, current);
    others.delete(nameKey(current));
  }
  // Each round lets go of at least one name that nobody wants any more; a few are enough for any list but a made-up one.
  for (let round = 0; round < 20; round++) {
    const inUse = new Set([...others, ...[...names.values()].map(nameKey)]);
    const next = new Map<string, string>();
    for (const { id, name } of wanted) next.set(id, chooseName(name, id, names.get(id), inUse));
    const settled = wanted.every(({ id }) => next.get(id) === names.get(id));
    names = next;
    if (settled) break;
  }
  return names;
}

/** The name to use for what its owner calls `wanted`, given what it is called here now. Keeps `inUse` up to date. */
function chooseName(wanted: string, id: string, current: string | undefined, inUse: Set<string>): string {
  if (current !== undefined) inUse.delete(nameKey(current));
  const plain = acceptable(wanted, id);
  const withId = `${plain}-${id}`;
  let name = inUse.has(nameKey(plain)) ? withId : plain;
  // Another company may have chosen the same name and the same id.
  for (let n = 2; inUse.has(nameKey(name)); n++) name = `${withId}-${n}`;
  // One that has a number keeps it when the name without it becomes free.
  if (name === withId && current?.startsWith(`${withId}-`) && /^\d+$/.test(current.slice(withId.length + 1)))
    name = current;
  inUse.add(nameKey(name));
  return name;
}

/** A name that a peer chose, made fit to be stored and shown. */
function acceptable(wanted: string, id: string): string {
  const shown = fitForName(wanted.toWellFormed()).trim();
  const clipped = [...shown].slice(0, maxNameLength).join("").trim();
  return nameProblem(clipped) === undefined ? clipped : id;
}

/** The subscriptions that are to be synced once `plan` is applied, by name: active here, offered and listed there. */
export function activeAfter(
  local: readonly Subscription[],
  plan: SubscriptionPlan,
): { id: string; sliceId: string; name: string }[] {
  const changed = new Map(plan.change.map((row) => [row.id, row]));
  const withdrawn = new Set([...plan.withdraw, ...plan.replace].map((row) => row.id));
  const kept = local
    .filter((row) => !withdrawn.has(row.id) && (row.withdrawnAt === null || changed.get(row.id)?.restored === true))
    .map((row) => changed.get(row.id) ?? row)
    .filter((row) => row.active && row.offered);
  return [...kept, ...plan.add.filter((row) => row.active)]
    .map(({ id, sliceId, name }) => ({ key: nameKey(name), row: { id, sliceId, name } }))
    .sort((a, b) => (a.key < b.key ? -1 : 1))
    .map(({ row }) => row);
}
