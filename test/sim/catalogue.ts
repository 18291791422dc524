/** Statements about companies, subscriptions, runs and what is logged, and advisory locks. */
import { createHash } from "node:crypto";
import { changeSlice, contentIn, log, unstage } from "./contents.ts";
import { type Handler, rows, touched } from "./handler.ts";
import { pgError, refer, type SliceRow, type SubscriptionRow, type Tx } from "./tables.ts";

const dated = { createdAt: new Date(0), updatedAt: new Date(0) };

const sliceOf = (row: SliceRow) => ({
  key: row.key,
  contentKey: row.content,
  companyId: row.company,
  id: row.id,
  name: row.name,
  type: row.type,
  allowSync: row.allowSync,
  hash: row.hash,
  referenceHash: null,
  count: row.count,
  bytes: row.bytes,
  contentDate: null,
  ...dated,
});

const subscriptionOf = (tx: Tx, row: SubscriptionRow) => {
  const slice = tx.get("slices", row.slice)!;
  return {
    key: row.key,
    companyId: row.company,
    companyName: tx.get("companies", row.company)!.name,
    id: row.id,
    sliceKey: row.slice,
    sliceId: slice.id,
    sliceName: slice.name,
    sliceType: slice.type,
    name: row.name,
    description: row.description,
    active: row.active,
    offered: row.offered,
    withdrawnAt: row.withdrawnAt === null ? null : new Date(row.withdrawnAt),
    ...dated,
  };
};

/** What of a slice its subscription's row does not have already. */
const prefixed = ({ key: _key, id: _id, name: _name, type: _type, ...slice }: ReturnType<typeof sliceOf>) =>
  Object.fromEntries(Object.entries(slice).map(([name, value]) => [`slice.${name}`, value]));

const by =
  <T>(pick: (row: T) => string) =>
  (a: T, b: T) =>
    pick(a) < pick(b) ? -1 : 1;

/** Row-level security of subscriptions, companies and the like. */
const own = (tx: Tx, company: string) => {
  const { scope, server } = tx.holder;
  return scope === "all" || !server.rowSecurity || scope === company;
};

const ofCompany = (tx: Tx, company: string) =>
  tx.rows("subscriptions").filter((row) => row.company === company && own(tx, company));

function changeSubscription(tx: Tx, key: number, change: Partial<SubscriptionRow>): void {
  const row = tx.get("subscriptions", key);
  if (row === undefined) return;
  tx.lock("subscriptions", key, "no-key-update");
  const next = { ...row, ...change };
  if (next.nameKey !== row.nameKey && tx.rows("subscriptions").some((other) => other.nameKey === next.nameKey))
    throw pgError("23505", "duplicate name", "subscriptions_name_key_key");
  tx.put("subscriptions", key, next);
}

function changeCompany(tx: Tx, id: string, etag: string | null): number {
  if (tx.get("companies", id) === undefined) return 0;
  tx.lock("companies", id, "no-key-update");
  tx.put("companies", id, { ...tx.get("companies", id)!, etag });
  return 1;
}

function renameSlice(tx: Tx, key: number, rename: (row: SliceRow) => Partial<SliceRow>): number {
  const row = tx.get("slices", key);
  if (row === undefined) return 0;
  tx.lock("slices", key, "update"); // names are unique, and so part of a key
  const change = rename(row);
  if (row.nameKey !== change.nameKey && tx.rows("slices").some((other) => other.nameKey === change.nameKey))
    throw pgError("23505", "duplicate name", "slices_name_key_key");
  return changeSlice(tx, key, "update", change);
}

type NewSlice = [string, string, string, string, string, boolean, string];

/** What a slice says of itself before anything is in it. */
const nothing = { sum: Buffer.alloc(32), count: 0, bytes: 0, sketch: Buffer.alloc(0) };

/** What is waited for comes before what is written. */
function insertSlices(tx: Tx, slices: Omit<SliceRow, "key" | "content" | keyof typeof nothing>[]): SliceRow[] {
  const made = slices.map((slice, i) => {
    tx.unique("slices", slice.company, slice.id);
    tx.unique("slice names", slice.nameKey);
    return { key: tx.next("slice", i), content: tx.next("content", i), ...slice, ...nothing };
  });
  for (const row of made) {
    const same = (other: SliceRow) =>
      (other.company === row.company && other.id === row.id) || other.nameKey === row.nameKey;
    if (tx.rows("slices").some(same)) throw pgError("23505", "duplicate slice", "slices_name_key_key");
    tx.put("slices", row.key, row);
  }
  return made;
}

/** The list of the subscription's company is forgotten. @returns whether there still is such a subscription. */
function forgets(tx: Tx, key: number): boolean {
  const company = tx.once("owner", () => tx.get("subscriptions", key)?.company);
  if (company === undefined) return false;
  changeCompany(tx, company, null);
  return tx.get("subscriptions", key) !== undefined;
}

/** The states of subscriptions, column by column. */
type StateColumns = [string[], number[], string[], string[], string[], boolean[], boolean[]];

const statesOf = ([ids, slices, names, nameKeys, descriptions, active, offered]: StateColumns) =>
  ids.map((id, i) => ({
    id,
    slice: slices[i]!,
    name: names[i]!,
    nameKey: nameKeys[i]!,
    description: descriptions[i]!,
    active: active[i]!,
    offered: offered[i]!,
  }));

/** The main part of it is done before what stands before it. @param told whether the primary is to be told of it. */
const noteApplied =
  (told: boolean): Handler =>
  (tx, values: unknown[]) => {
    const { key, ...content } = contentIn(values);
    const [company, run, slice, body] = values.slice(6) as string[];
    const outbox = `${company} ${run} ${slice}`;
    const sequence = tx.next("outbox");
    // What is waited for comes before what is written.
    tx.unique("activity", outbox);
    if (tx.get("slices", key) !== undefined) tx.lock("slices", key, "no-key-update");
    unstage(tx, key);
    tx.unique("outbox", outbox);
    const logged = log(tx, outbox, values[12] as string);
    changeSlice(tx, key, "no-key-update", content);
    if (told) {
      if (tx.get("outbox", outbox) !== undefined) throw pgError("23505", "duplicate confirmation", "outbox_key");
      tx.put("outbox", outbox, { company: company!, run: run!, slice: slice!, sequence, body: JSON.parse(body!) });
    }
    return touched(logged ? 1 : 0);
  };

/** @param all whether it is forgotten whose they should be. */
const slicesOf =
  (all: boolean): Handler =>
  (tx, [company]: [string]) => ({
    rows: tx
      .rows("slices")
      .filter((row) => all || row.company === company)
      .map(({ id, key, content, hash, count }) => ({ id, key, contentKey: content, hash, count })),
  });

export const catalogue: Record<string, Handler> = {
  // session-lock.ts
  tryLock: (tx, [id]: [string]) => rows({ ok: tx.tryAdvisory(`sync ${id}`) }),
  withSessionLockEnd: (tx, [id]: [string]) => {
    tx.unlock(`sync ${id}`);
    return rows({});
  },
  withSessionLockName: () => rows({}),
  holder: () => rows({ name: "another" }),
  updateSubscriptionsLock: (tx) => {
    tx.advisory("names", "update", "commit");
    return rows({});
  },
  pageBefore: () => rows(),
  partnerRunReadOnly: (_tx, _values, session) => {
    session.readOnly = true;
    return rows();
  },
  partnerRunEnd: (_tx, _values, session) => {
    session.readOnly = false;
    return rows();
  },

  // run-store.ts, outbox-store.ts
  startRun: (tx, [company, id]: [string, string]) => {
    const lost = [...tx.all("runs")].filter(([key, run]) => run.company === company && run.exit === null && key !== id);
    for (const [key, run] of lost) tx.put("runs", key, { ...run, exit: 1 });
    return touched(lost.length);
  },
  announceRun: (tx, [id, company]: [string, string]) => {
    tx.unique("runs", id);
    if (tx.get("runs", id) !== undefined) return touched(0);
    tx.put("runs", id, { company, exit: null });
    return touched(1);
  },
  finishRun: (tx, [id, exit]: [string, number]) => {
    const run = tx.get("runs", id);
    if (run === undefined) return touched(0);
    tx.put("runs", id, { ...run, exit });
    return touched(1);
  },
  noteApplied: noteApplied(true),
  noteAppliedFaulty: noteApplied(false),
  readOutbox: (tx, [company]: [string]) => ({
    rows: tx
      .rows("outbox")
      .filter((row) => row.company === company)
      .sort((a, b) => a.sequence - b.sequence)
      .map(({ body }) => ({ body })),
  }),
  settleOutbox: (tx, [company, runs, slices]: [string, string[], string[]]) => {
    const settled = new Set(runs.map((run, i) => `${company} ${run} ${slices[i]}`));
    const there = [...settled].filter((key) => tx.get("outbox", key) !== undefined);
    for (const key of there) tx.put("outbox", key, undefined);
    return touched(there.length);
  },
  wasCommitted: (tx, [c, r, s]: string[]) => (tx.get("outbox", `${c} ${r} ${s}`) === undefined ? rows() : rows({})),

  // activity-store.ts
  addActivity: (
    tx,
    [company, run, slice, , , , outcome]: [string, string, string, unknown, unknown, unknown, string],
  ) => touched(log(tx, `${company} ${run} ${slice}`, outcome) ? 1 : 0),
  addLosses: (tx, [company, run, slices, , , outcomes]: [string, string, string[], string[], string[], string[]]) =>
    touched(slices.filter((slice, i) => log(tx, `${company} ${run} ${slice}`, outcomes[i]!)).length),

  // company-store.ts
  readSubsEtag: (tx, [id]: [string]) => {
    const company = tx.get("companies", id);
    return rows(company && { etag: company.etag });
  },
  setSubsEtag: (tx, [id, etag]: [string, string | null]) => touched(changeCompany(tx, id, etag)),
  removeSliceEtag: (tx, [key]: [number]) => {
    const company = tx.once("owner", () => tx.get("slices", key)?.company);
    if (company === undefined) return touched(0);
    return touched(changeCompany(tx, company, null));
  },

  updateSubscriptionsCompany: (tx, [id]: [string]) => {
    tx.lock("companies", id, "no-key-update");
    return rows({});
  },

  // subscription-store.ts
  listSubscriptions: (tx, [, company]: [null, string]) => ({
    rows: ofCompany(tx, company)
      .sort(by((row) => row.nameKey))
      .map((row) => subscriptionOf(tx, row)),
  }),
  listOffers: (tx, [company, limit]: [string, number]) => ({
    rows: ofCompany(tx, company)
      .sort(by((row) => row.id))
      .slice(0, limit)
      .map((row) => ({
        ...subscriptionOf(tx, row),
        ...prefixed(sliceOf(tx.get("slices", row.slice)!)),
      })),
  }),
  nameOffers: (tx, [company]: [string]) => {
    const list = ofCompany(tx, company)
      .sort(by((row) => row.id))
      .map((row) => {
        const slice = tx.get("slices", row.slice)!;
        const values = [row.id, row.name, row.description, row.active, slice.id, slice.name, slice.type];
        return `[${values.map((value) => JSON.stringify(value)).join(", ")}]`;
      });
    return rows({ name: createHash("sha256").update(list.join(",")).digest("hex") });
  },
  readNames: (tx, [company]: [string]) => ({
    rows: tx
      .rows("slices")
      .filter((row) => row.company === company)
      .map(({ id, name, type }) => ({ id, name, type })),
  }),
  readNamesSubscriptions: (tx) => ({
    rows: tx.rows("subscriptions").map((row) => ({ k: row.nameKey })),
  }),
  readNamesSlices: (tx) => ({ rows: tx.rows("slices").map((row) => ({ k: row.nameKey })) }),
  applyPlan: (tx, [company]: [string]) => ({
    rows: tx
      .rows("slices")
      .filter((row) => row.company === company)
      .map(({ id, key }) => ({ id, key })),
  }),
  updateSubscriptions: slicesOf(false),
  updateSubscriptionsFaulty: slicesOf(true),
  dueSlices: (tx, [company, only]: [string, string | null]) => ({
    rows: ofCompany(tx, company)
      .filter((u) => u.active && u.offered && u.withdrawnAt === null && (only === null || u.id === only))
      .sort(by((row) => row.nameKey))
      .map((u) => {
        const { id, name, key, content, hash, count } = tx.get("slices", u.slice)!;
        return { id, name, subscription: u.name, key, contentKey: content, hash, count, subscriptionId: u.id };
      }),
  }),
  applyPlanAside: (tx, [key]: [number]) =>
    touched(renameSlice(tx, key, (row) => ({ nameKey: `${key} ${row.nameKey}` }))),
  renameSlice: (tx, [key, name, nameKey]: [number, string, string]) =>
    touched(renameSlice(tx, key, () => ({ name, nameKey }))),
  setSliceType: (tx, [key, type]: [number, string]) => touched(changeSlice(tx, key, "no-key-update", { type })),
  insertSlice: (tx, [company, id, name, nameKey, type, allowSync, hash]: NewSlice) => {
    const [row] = insertSlices(tx, [{ company, id, name, nameKey, type, allowSync, hash }]);
    return rows(sliceOf(row!));
  },
  insertCopies: (tx, [company, ids, names, nameKeys, types]: [string, string[], string[], string[], string[]]) => {
    const states = ids.map((id, i) => ({ id, name: names[i]!, nameKey: nameKeys[i]!, type: types[i]! }));
    const rest = { company, allowSync: true, hash: "" };
    return rows(
      ...insertSlices(
        tx,
        states.map((state) => ({ ...state, ...rest })),
      ).map(({ id, key }) => ({ id, key })),
    );
  },
  changeSubscriptionsAside: (tx, [company, ids]: [string, string[]]) => {
    const known = tx.rows("subscriptions").filter((row) => row.company === company && ids.includes(row.id));
    for (const { key } of known) tx.lock("subscriptions", key, "no-key-update");
    for (const { key } of known)
      changeSubscription(tx, key, { nameKey: `${key} ${tx.get("subscriptions", key)!.nameKey}` });
    return touched(known.length);
  },
  changeSubscriptions: (tx: Tx, [company, ...columns]: [string, ...StateColumns]) => {
    const known = new Map(ofCompany(tx, company).map((row) => [row.id, row.key]));
    const changes = statesOf(columns).flatMap((state) => {
      const key = known.get(state.id);
      return key === undefined ? [] : [{ key, state }];
    });
    for (const { key, state } of changes) {
      tx.lock("subscriptions", key, "no-key-update");
      // Whether or not it is another: the row is one that the transaction has written already.
      refer(tx, "subscriptions", state.slice);
    }
    for (const { key, state } of changes) changeSubscription(tx, key, { ...state, withdrawnAt: null });
    return touched(changes.length);
  },
  insertSubscriptions: (tx: Tx, [company, ...columns]: [string, ...StateColumns]) => {
    const states = statesOf(columns);
    for (const { id, nameKey, slice } of states) {
      refer(tx, "subscriptions", slice);
      tx.unique("subscriptions", company, id);
      tx.unique("subscription names", nameKey);
    }
    for (const [i, state] of states.entries()) {
      const key = tx.next("subscription", i);
      const same = (row: SubscriptionRow) =>
        (row.company === company && row.id === state.id) || row.nameKey === state.nameKey;
      if (tx.rows("subscriptions").some(same))
        throw pgError("23505", "duplicate subscription", "subscriptions_name_key_key");
      tx.put("subscriptions", key, { key, company, ...state, withdrawnAt: null });
    }
    return touched(columns[0].length);
  },
  applyPlanWithdraw: (tx, [keys]: [number[]]) => {
    for (const key of keys) if (tx.get("subscriptions", key)) tx.lock("subscriptions", key, "no-key-update");
    for (const key of keys) changeSubscription(tx, key, { withdrawnAt: 0 });
    return touched(keys.length);
  },
  applyPlanReplace: (tx, [keys]: [number[]]) => {
    const there = keys.filter((key) => tx.get("subscriptions", key) !== undefined);
    for (const key of there) tx.lock("subscriptions", key, "update");
    for (const key of there) tx.put("subscriptions", key, undefined);
    return touched(there.length);
  },
  removeSliceSubscriptions: (tx, [slice]: [number]) => {
    const gone = tx.rows("subscriptions").filter((row) => row.slice === slice);
    for (const { key } of gone) {
      tx.lock("subscriptions", key, "update");
      tx.put("subscriptions", key, undefined);
    }
    return touched(gone.length);
  },
  setSubscriptionActive: (tx, [key, active]: [number, boolean]) => {
    if (!forgets(tx, key)) return touched(0);
    changeSubscription(tx, key, { active });
    return touched(1);
  },
  removeSubscription: (tx, [key]: [number]) => {
    if (!forgets(tx, key)) return touched(0);
    tx.lock("subscriptions", key, "update");
    tx.put("subscriptions", key, undefined);
    return touched(1);
  },
};
