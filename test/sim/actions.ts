/**
 * What happens in a schedule besides the syncs: operators at work, and faults. To add one, write it here: a name, how often it comes
 * among the others, and what it does to the world. `a` and `b` choose whom it is about, `n` how much.
 */
import { removeSlice, setAllowSync } from "../../src/slices/slice-store.ts";
import { removeSubscription, setSubscriptionActive } from "../../src/subscriptions/subscription-store.ts";
import type { PrimaryNode } from "./primary-node.ts";
import { probe } from "./probe.ts";
import { publish } from "./publish.ts";
import type { SimDatabase } from "./sim-database.ts";
import type { World } from "./world.ts";

export interface ActionArgs {
  a: number;
  b: number;
  n: number;
}

interface ActionKind {
  /** How often it comes, beside the others. */
  weight: number;
  act(world: World, args: ActionArgs): void | Promise<void>;
}

const at = <T>(items: readonly T[], n: number): T => items[n % items.length]!;

/** A primary and one of its slices, if it has any. */
function sliceAt(world: World, { a, b }: ActionArgs) {
  const primary = at(world.primaries, a);
  const slices = [...primary.tables.slices.values()];
  return { primary, slice: slices.length === 0 ? undefined : at(slices, b) };
}

/** A primary, one of its partners, and a subscription of that. */
function subscriptionAt(world: World, { a, b, n }: ActionArgs) {
  const primary = at(world.primaries, a);
  const company = world.companyOf(at(world.secondaries, b));
  const rows = [...primary.tables.subscriptions.values()].filter((row) => row.company === company);
  return { primary, company, row: rows.length === 0 ? undefined : at(rows, n) };
}

/** Somebody else's transaction that holds a row, as an operator's psql does. */
function holdRow(world: World, { a, b, n }: ActionArgs): void {
  const secondary = at(world.secondaries, a);
  const slices = [...secondary.db.tables.slices.keys()];
  if (slices.length === 0) return;
  const holder = { scope: "all", purpose: "psql", server: secondary.db };
  if (!secondary.db.locks.try(`slices ${at(slices, b)}`, holder, "update")) return;
  world.clock.after(n * 20, () => {
    secondary.db.locks.release(holder);
    secondary.db.freed();
  });
}

const database = (world: World, { a }: ActionArgs) => at([...world.secondaries, ...world.primaries], a).db;

function stop(db: SimDatabase, n: number): void {
  db.crash();
  db.leave(n % 30);
}

const rights = (world: World, primary: PrimaryNode, company: string, active: boolean) =>
  world.write(primary.db, (tx) => tx.put("companies", company, { ...tx.get("companies", company)!, active }));

export const actionKinds: Record<string, ActionKind> = {
  // Operators of primaries
  publish: { weight: 8, act: (world, args) => publish(world, sliceAt(world, args), args.n, "some") },
  "publish anew": { weight: 1, act: (world, args) => publish(world, sliceAt(world, args), args.n, "all") },
  "publish again and again": {
    weight: 1,
    act: async (world, args) => {
      for (let i = 0; i < 12; i++) {
        await publish(world, sliceAt(world, args), args.n + i, "some");
        await world.clock.wait(args.n / 20);
      }
    },
  },
  empty: { weight: 2, act: (world, args) => publish(world, sliceAt(world, args), args.n, "none") },
  lock: {
    weight: 2,
    act: async (world, args) => {
      const { primary, slice } = sliceAt(world, args);
      if (slice === undefined) return;
      const db = world.operator(primary.db);
      await setAllowSync(db, slice.key as never, false);
      world.clock.after(args.n / 2, () => void setAllowSync(db, slice.key as never, true).catch(world.refused));
    },
  },
  withdraw: {
    weight: 3,
    act: async (world, args) => {
      const { primary, row } = subscriptionAt(world, args);
      if (row !== undefined) await removeSubscription(world.operator(primary.db), row.key);
    },
  },
  offer: {
    weight: 2,
    act: async (world, args) => {
      const { primary, slice } = sliceAt(world, args);
      const secondary = at(world.secondaries, args.n);
      if (slice !== undefined) await world.offer(primary, secondary, slice.key).catch(world.refused); // it has it already
    },
  },
  "switch off": {
    weight: 2,
    act: async (world, args) => {
      const { primary, row } = subscriptionAt(world, args);
      if (row !== undefined) await setSubscriptionActive(world.operator(primary.db), row.key, false);
    },
  },
  "switch on": {
    weight: 2,
    act: async (world, args) => {
      const { primary, row } = subscriptionAt(world, args);
      if (row !== undefined) await setSubscriptionActive(world.operator(primary.db), row.key, true);
    },
  },
  deactivate: {
    weight: 1,
    act: (world, args) => {
      const { primary, company } = subscriptionAt(world, args);
      rights(world, primary, company, false);
      world.clock.after(args.n * 5, () => rights(world, primary, company, true));
    },
  },
  rekey: {
    weight: 1,
    act: (world, { a, b, n }) => {
      const primary = at(world.primaries, a);
      const secondary = at(world.secondaries, b);
      const company = world.companyOf(secondary);
      const apiKey = `key ${n} of ${company}`;
      world.write(primary.db, (tx) => tx.put("companies", company, { ...tx.get("companies", company)!, apiKey }));
      world.clock.after(n, () => secondary.apiKeys.set(primary, primary.tables.companies.get(company)!.apiKey));
    },
  },

  // Operators of secondaries
  "remove here": {
    weight: 2,
    act: async (world, { a, b }) => {
      const secondary = at(world.secondaries, a);
      const slices = [...secondary.db.tables.slices.keys()];
      if (slices.length > 0)
        await removeSlice(world.operator(secondary.db), at(slices, b) as never).catch(world.refused);
    },
  },
  "switch off here": {
    weight: 1,
    act: async (world, { a, b }) => {
      const secondary = at(world.secondaries, a);
      const rows = [...secondary.db.tables.subscriptions.keys()];
      if (rows.length > 0)
        await setSubscriptionActive(world.operator(secondary.db), at(rows, b), false).catch(world.refused);
    },
  },
  "hold a row": { weight: 1, act: holdRow },

  "remove a slice": {
    weight: 1,
    act: async (world, args) => {
      const { primary, slice } = sliceAt(world, args);
      if (slice === undefined || primary.tables.slices.size === 1) return;
      await removeSlice(world.operator(primary.db), slice.key as never);
    },
  },

  // The network
  cut: { weight: 8, act: (world, { a }) => world.connections[a % Math.max(1, world.connections.length)]?.cut() },
  stall: {
    weight: 2,
    act: (world, { a, n }) => world.connections[a % Math.max(1, world.connections.length)]?.stall(n * 2),
  },
  "half-open": {
    weight: 1,
    act: (world, { a }) =>
      world.connections[a % Math.max(1, world.connections.length)]?.stall(Number.POSITIVE_INFINITY),
  },
  "fail a request": { weight: 2, act: (world, { a }) => world.failRequest(at(world.secondaries, a)) },

  // Processes and databases
  "kill a secondary": { weight: 5, act: (world, { a }) => world.killSecondary(at(world.secondaries, a)) },
  "kill a primary": {
    weight: 3,
    act: (world, { a, n }) => {
      const primary = at(world.primaries, a);
      primary.kill();
      world.clock.after(n / 2, () => {
        if (!primary.up) primary.start();
      });
    },
  },
  "stop a database": { weight: 3, act: (world, args) => stop(database(world, args), args.n) },
  "end a connection": {
    weight: 3,
    act: (world, args) => {
      const sessions = [...database(world, args).sessions];
      if (sessions.length > 0) at(sessions, args.b).drop();
    },
  },
  "lose a commit": {
    weight: 4,
    act: (world, args) => {
      database(world, args).faults.loseCommit = { committed: args.n % 2 === 0, awayMs: args.n % 5 === 0 ? 50 : 0 };
    },
  },
  "lose the commit of a slice": {
    weight: 3,
    act: (world, { a, n }) => {
      const { faults } = at(world.secondaries, a).db;
      const late = n % 3 === 0 ? { lateMs: n } : {};
      faults.loseCommit = { committed: n % 2 === 0, awayMs: n % 5 === 0 ? 50 : 0, of: "outbox", ...late };
    },
  },
  "fill a disk": {
    weight: 1,
    act: (world, args) => {
      const { faults } = database(world, args);
      faults.diskFull = true;
      world.clock.after(args.n / 4, () => {
        faults.diskFull = false;
      });
    },
  },

  // A stranger with a partner's key
  probe: {
    weight: 2,
    act: (world, { a, b, n }) => {
      const primary = at(world.primaries, a);
      if (primary.up) void probe(world, primary, at(world.secondaries, b), n);
    },
  },
};
