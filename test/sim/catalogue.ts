/** Statements about companies, subscriptions, runs and what is logged, and advisory locks. */
import { createHash } from "node:crypto";
import { storingContent as storing } from "../../src/slices/refresh.ts";
import { changeSlice, log, unstage } from "./contents.ts";
import { type Handler, plain, rows, touched } from "./handler.ts";
import { pgError, refer, type SliceRow, type SubscriptionRow, type Tx } from "./tables.ts";

const storingContent = plain(storing);

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
  contentHash: row.contentHash,
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

const subscriptionColumns =
  'SELECT u.subscription_key AS key, u.company_id AS "companyId", c.name AS "companyName", u.id, u.slice_key AS "sliceKey", s.id AS "sliceId", s.name AS "sliceName", s.slice_type AS "sliceType", u.name, u.description, u.active, u.offered, u.withdrawn_at AS "withdrawnAt", u.created_at AS "createdAt", u.updated_at AS "updatedAt"';

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

type NewSlice = [string, string, string, string, string, boolean, string, string];

/** What is waited for comes before what is written. */
function insertSlices(tx: Tx, slices: Omit<SliceRow, "key" | "content" | "count" | "bytes">[]): SliceRow[] {
  const made = slices.map((slice, i) => {
    tx.unique("slices", slice.company, slice.id);
    tx.unique("slice names", slice.nameKey);
    return { key: tx.next("slice", i), content: tx.next("content", i), ...slice, count: 0, bytes: 0 };
  });
  for (const row of made) {
    const same = (other: SliceRow) =>
      (other.company === row.company && other.id === row.id) || other.nameKey === row.nameKey;
    if (tx.rows("slices").some(same)) throw pgError("23505", "duplicate slice", "slices_name_key_key");
    tx.put("slices", row.key, row);
  }
  return made;
}

const forgetList =
  "WITH owner AS (UPDATE companies SET subs_etag = NULL WHERE id = (SELECT company_id FROM subscriptions WHERE subscription_key = $1) RETURNING id)";
const ofOwner = "WHERE subscription_key = $1 AND company_id IN (SELECT id FROM owner)";

/** The list of the subscription's company is forgotten. @returns whether there still is such a subscription. */
function forgets(tx: Tx, key: number): boolean {
  const company = tx.once("owner", () => tx.get("subscriptions", key)?.company);
  if (company === undefined) return false;
  changeCompany(tx, company, null);
  return tx.get("subscriptions", key) !== undefined;
}

/** The states of subscriptions, column by column. */
const stateColumns =
  "unnest($2::uuid[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::boolean[], $8::boolean[]) WITH ORDINALITY AS n (id, slice_key, name, name_key, description, active, offered, ordinal)";
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

export const catalogue: Record<string, Handler> = {
  // session-lock.ts
  "SELECT pg_try_advisory_lock(hashtextextended('sandpiper:sync:' || $1::text, 0)) AS ok": (tx, [id]: [string]) =>
    rows({ ok: tx.tryAdvisory(`sync ${id}`) }),
  "SELECT pg_advisory_unlock(hashtextextended('sandpiper:sync:' || $1::text, 0)), set_config('application_name', 'sandpiper', false)":
    (tx, [id]: [string]) => {
      tx.unlock(`sync ${id}`);
      return rows({});
    },
  "SELECT set_config('application_name', $1, false)": () => rows({}),
  "SELECT a.application_name AS name FROM pg_locks …": () => rows({ name: "another" }),
  "SELECT pg_advisory_xact_lock(hashtextextended('sandpiper:names', 0))": (tx) => {
    tx.advisory("names", "update", "commit");
    return rows({});
  },
  "SET LOCAL enable_sort = off": () => rows(),
  "SET default_transaction_read_only = on": (_tx, _values, session) => {
    session.readOnly = true;
    return rows();
  },
  "SET default_transaction_read_only = 'off'": (_tx, _values, session) => {
    session.readOnly = false;
    return rows();
  },

  // run-store.ts, outbox-store.ts
  "UPDATE sync_runs SET finished_at = now(), exit_code = 1, summary = '{\"lost\": true}' WHERE company_id = $1 AND finished_at IS NULL AND id <> $2":
    (tx, [company, id]: [string, string]) => {
      const lost = [...tx.all("runs")].filter(
        ([key, run]) => run.company === company && run.exit === null && key !== id,
      );
      for (const [key, run] of lost) tx.put("runs", key, { ...run, exit: 1 });
      return touched(lost.length);
    },
  "INSERT INTO sync_runs (id, company_id) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING": (
    tx,
    [id, company]: [string, string],
  ) => {
    tx.unique("runs", id);
    if (tx.get("runs", id) !== undefined) return touched(0);
    tx.put("runs", id, { company, exit: null });
    return touched(1);
  },
  "UPDATE sync_runs SET finished_at = now(), exit_code = $2, summary = $3 WHERE id = $1": (
    tx,
    [id, exit]: [string, number],
  ) => {
    const run = tx.get("runs", id);
    if (run === undefined) return touched(0);
    tx.put("runs", id, { ...run, exit });
    return touched(1);
  },
  // The main part of it is done before what stands before it.
  [`WITH stored AS (${storingContent}), unstaged AS (DELETE FROM staging WHERE slice_key = $1), told AS (INSERT INTO outbox (company_id, run_id, slice_id, body) …`]:
    (tx, values: unknown[], _session, rest) => {
      const [key, hash, contentHash, count, bytes] = values as [number, string, string, number, number];
      const [company, run, slice, body] = values.slice(5) as string[];
      const outbox = `${company} ${run} ${slice}`;
      const sequence = tx.next("outbox");
      // What is waited for comes before what is written.
      tx.unique("activity", outbox);
      if (tx.get("slices", key) !== undefined) tx.lock("slices", key, "no-key-update");
      unstage(tx, key);
      tx.unique("outbox", outbox);
      const logged = log(tx, outbox, values[11] as string);
      changeSlice(tx, key, "no-key-update", { hash, contentHash, count, bytes });
      // Unless that is forgotten on purpose (mutants.ts).
      if (!rest.startsWith("SELECT")) {
        if (tx.get("outbox", outbox) !== undefined) throw pgError("23505", "duplicate confirmation", "outbox_key");
        tx.put("outbox", outbox, { company: company!, run: run!, slice: slice!, sequence, body: JSON.parse(body!) });
      }
      return touched(logged ? 1 : 0);
    },
  "SELECT body FROM outbox WHERE company_id = $1 ORDER BY id LIMIT 1000": (tx, [company]: [string]) => ({
    rows: tx
      .rows("outbox")
      .filter((row) => row.company === company)
      .sort((a, b) => a.sequence - b.sequence)
      .map(({ body }) => ({ body })),
  }),
  "DELETE FROM outbox o USING unnest($2::uuid[], $3::uuid[]) AS settled (run_id, slice_id) WHERE o.company_id = $1 AND o.run_id = settled.run_id AND o.slice_id = settled.slice_id":
    (tx, [company, runs, slices]: [string, string[], string[]]) => {
      const settled = new Set(runs.map((run, i) => `${company} ${run} ${slices[i]}`));
      const there = [...settled].filter((key) => tx.get("outbox", key) !== undefined);
      for (const key of there) tx.put("outbox", key, undefined);
      return touched(there.length);
    },
  "SELECT 1 FROM outbox WHERE company_id = $1 AND run_id = $2 AND slice_id = $3": (tx, [c, r, s]: string[]) =>
    tx.get("outbox", `${c} ${r} ${s}`) === undefined ? rows() : rows({}),

  // activity-store.ts
  "INSERT INTO activity (company_id, run_id, slice_id, slice_name, sub_id, test, outcome, message, grains_added, grains_removed, bytes, duration_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) ON CONFLICT (company_id, run_id, slice_id) DO NOTHING":
    (tx, [company, run, slice, , , , outcome]: [string, string, string, unknown, unknown, unknown, string]) => {
      return touched(log(tx, `${company} ${run} ${slice}`, outcome) ? 1 : 0);
    },

  "INSERT INTO activity (company_id, run_id, slice_id, slice_name, sub_id, outcome) SELECT $1, $2, * FROM unnest($3::uuid[], $4::text[], $5::uuid[], $6::text[]) ON CONFLICT (company_id, run_id, slice_id) DO NOTHING":
    (tx, [company, run, slices, , , outcomes]: [string, string, string[], string[], string[], string[]]) =>
      touched(slices.filter((slice, i) => log(tx, `${company} ${run} ${slice}`, outcomes[i]!)).length),

  // company-store.ts
  "SELECT subs_etag AS etag FROM companies WHERE id = $1": (tx, [id]: [string]) => {
    const company = tx.get("companies", id);
    return rows(company && { etag: company.etag });
  },
  "UPDATE companies SET subs_etag = $2 WHERE id = $1": (tx, [id, etag]: [string, string | null]) => {
    return touched(changeCompany(tx, id, etag));
  },
  "UPDATE companies SET subs_etag = NULL WHERE id = (SELECT company_id FROM slices WHERE slice_key = $1)": (
    tx,
    [key]: [number],
  ) => {
    const company = tx.once("owner", () => tx.get("slices", key)?.company);
    if (company === undefined) return touched(0);
    return touched(changeCompany(tx, company, null));
  },

  "SELECT 1 FROM companies WHERE id = $1 FOR NO KEY UPDATE": (tx, [id]: [string]) => {
    tx.lock("companies", id, "no-key-update");
    return rows({});
  },

  // subscription-store.ts
  [`${subscriptionColumns} FROM subscriptions u JOIN companies c ON c.id = u.company_id JOIN slices s ON s.slice_key = u.slice_key WHERE $1::uuid IS NULL AND ($2::uuid IS NULL OR u.company_id = $2) AND ($3::bigint IS NULL OR u.slice_key = $3) ORDER BY u.name_key LIMIT $4 OFFSET $5`]:
    (tx, [, company]: [null, string]) => ({
      rows: ofCompany(tx, company)
        .sort(by((row) => row.nameKey))
        .map((row) => subscriptionOf(tx, row)),
    }),
  [`${subscriptionColumns}, s.content_key AS "slice.contentKey", …`]: (tx, [company, limit]: [string, number]) => ({
    rows: ofCompany(tx, company)
      .sort(by((row) => row.id))
      .slice(0, limit)
      .map((row) => ({
        ...subscriptionOf(tx, row),
        ...prefixed(sliceOf(tx.get("slices", row.slice)!)),
      })),
  }),
  "SELECT encode(sha256(convert_to(coalesce(string_agg( jsonb_build_array(u.id, u.name, u.description, u.active, s.id, s.name, s.slice_type)::text, ',' ORDER BY u.id), ''), 'UTF8')), 'hex') AS name …":
    (tx, [company]: [string]) => {
      const list = ofCompany(tx, company)
        .sort(by((row) => row.id))
        .map((row) => {
          const slice = tx.get("slices", row.slice)!;
          const values = [row.id, row.name, row.description, row.active, slice.id, slice.name, slice.type];
          return `[${values.map((value) => JSON.stringify(value)).join(", ")}]`;
        });
      return rows({ name: createHash("sha256").update(list.join(",")).digest("hex") });
    },
  "SELECT id, name, slice_type AS type FROM slices WHERE company_id = $1": (tx, [company]: [string]) => ({
    rows: tx
      .rows("slices")
      .filter((row) => row.company === company)
      .map(({ id, name, type }) => ({ id, name, type })),
  }),
  "SELECT name_key AS k FROM subscriptions": (tx) => ({
    rows: tx.rows("subscriptions").map((row) => ({ k: row.nameKey })),
  }),
  "SELECT name_key AS k FROM slices": (tx) => ({ rows: tx.rows("slices").map((row) => ({ k: row.nameKey })) }),
  "SELECT id, slice_key AS key FROM slices WHERE company_id = $1": (tx, [company]: [string]) => ({
    rows: tx
      .rows("slices")
      .filter((row) => row.company === company)
      .map(({ id, key }) => ({ id, key })),
  }),
  'SELECT id, slice_key AS key, content_key AS "contentKey", hash, content_count AS count FROM slices WHERE …': (
    tx,
    [company]: [string],
    _settings,
    rest,
  ) => ({
    rows: tx
      .rows("slices")
      // Whose slices: unless that is forgotten on purpose (mutants.ts).
      .filter((row) => (rest === "company_id = $1" ? row.company === company : rest === "$1 IS NOT NULL"))
      .map(({ id, key, content, hash, count }) => ({ id, key, contentKey: content, hash, count })),
  }),
  'SELECT s.id, s.name, u.name AS subscription, s.slice_key AS key, s.content_key AS "contentKey", s.hash, s.content_count AS count, u.id AS "subscriptionId" FROM subscriptions u JOIN slices s USING (slice_key) WHERE u.company_id = $1 AND u.active AND u.offered AND u.withdrawn_at IS NULL AND ($2::uuid IS NULL OR u.id = $2) ORDER BY u.name_key':
    (tx, [company, only]: [string, string | null]) => ({
      rows: ofCompany(tx, company)
        .filter((u) => u.active && u.offered && u.withdrawnAt === null && (only === null || u.id === only))
        .sort(by((row) => row.nameKey))
        .map((u) => {
          const { id, name, key, content, hash, count } = tx.get("slices", u.slice)!;
          return { id, name, subscription: u.name, key, contentKey: content, hash, count, subscriptionId: u.id };
        }),
    }),
  "UPDATE slices SET name_key = slice_key::text || ' ' || name_key WHERE slice_key = $1": (tx, [key]: [number]) =>
    touched(renameSlice(tx, key, (row) => ({ nameKey: `${key} ${row.nameKey}` }))),
  "UPDATE slices SET name = $2, name_key = $3, updated_at = now() WHERE slice_key = $1": (
    tx,
    [key, name, nameKey]: [number, string, string],
  ) => touched(renameSlice(tx, key, () => ({ name, nameKey }))),
  "UPDATE slices SET slice_type = $2, updated_at = now() WHERE slice_key = $1": (tx, [key, type]: [number, string]) =>
    touched(changeSlice(tx, key, "no-key-update", { type })),
  "INSERT INTO slices AS s (company_id, id, name, name_key, slice_type, allow_sync, hash, content_hash) VALUES ($1, coalesce($2::uuid, gen_random_uuid()), $3, $4, $5, $6, $7, $8) RETURNING …":
    (tx, [company, id, name, nameKey, type, allowSync, hash, contentHash]: NewSlice) => {
      const [row] = insertSlices(tx, [{ company, id, name, nameKey, type, allowSync, hash, contentHash }]);
      return rows(sliceOf(row!));
    },
  "INSERT INTO slices (company_id, id, name, name_key, slice_type) SELECT $1, id, name, name_key, type FROM unnest($2::uuid[], $3::text[], $4::text[], $5::text[]) WITH ORDINALITY AS u (id, name, name_key, type, n) ORDER BY n RETURNING id, slice_key AS key":
    (tx, [company, ids, names, nameKeys, types]: [string, string[], string[], string[], string[]]) => {
      const states = ids.map((id, i) => ({ id, name: names[i]!, nameKey: nameKeys[i]!, type: types[i]! }));
      const rest = { company, allowSync: true, hash: "", contentHash: "" };
      return rows(
        ...insertSlices(
          tx,
          states.map((state) => ({ ...state, ...rest })),
        ).map(({ id, key }) => ({ id, key })),
      );
    },
  "UPDATE subscriptions SET name_key = subscription_key::text || ' ' || name_key WHERE company_id = $1 AND id = ANY ($2::uuid[])":
    (tx, [company, ids]: [string, string[]]) => {
      const known = tx.rows("subscriptions").filter((row) => row.company === company && ids.includes(row.id));
      for (const { key } of known) tx.lock("subscriptions", key, "no-key-update");
      for (const { key } of known)
        changeSubscription(tx, key, { nameKey: `${key} ${tx.get("subscriptions", key)!.nameKey}` });
      return touched(known.length);
    },
  [`UPDATE subscriptions u SET slice_key = n.slice_key, name = n.name, name_key = n.name_key, description = n.description, active = n.active, offered = n.offered, withdrawn_at = NULL, updated_at = now() FROM ${stateColumns} WHERE u.company_id = $1 AND u.id = n.id`]:
    (tx: Tx, [company, ...columns]: [string, ...StateColumns]) => {
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
  [`INSERT INTO subscriptions (company_id, id, slice_key, name, name_key, description, active, offered) SELECT $1, id, slice_key, name, name_key, description, active, offered FROM ${stateColumns} ORDER BY ordinal`]:
    (tx: Tx, [company, ...columns]: [string, ...StateColumns]) => {
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
  "UPDATE subscriptions SET withdrawn_at = now(), updated_at = now() WHERE subscription_key = ANY ($1::bigint[])": (
    tx,
    [keys]: [number[]],
  ) => {
    for (const key of keys) if (tx.get("subscriptions", key)) tx.lock("subscriptions", key, "no-key-update");
    for (const key of keys) changeSubscription(tx, key, { withdrawnAt: 0 });
    return touched(keys.length);
  },
  "DELETE FROM subscriptions WHERE subscription_key = ANY ($1::bigint[])": (tx, [keys]: [number[]]) => {
    const there = keys.filter((key) => tx.get("subscriptions", key) !== undefined);
    for (const key of there) tx.lock("subscriptions", key, "update");
    for (const key of there) tx.put("subscriptions", key, undefined);
    return touched(there.length);
  },
  "DELETE FROM subscriptions WHERE slice_key = $1": (tx, [slice]: [number]) => {
    const gone = tx.rows("subscriptions").filter((row) => row.slice === slice);
    for (const { key } of gone) {
      tx.lock("subscriptions", key, "update");
      tx.put("subscriptions", key, undefined);
    }
    return touched(gone.length);
  },
  [`${forgetList} UPDATE subscriptions SET active = $2, updated_at = now() ${ofOwner}`]: (
    tx,
    [key, active]: [number, boolean],
  ) => {
    if (!forgets(tx, key)) return touched(0);
    changeSubscription(tx, key, { active });
    return touched(1);
  },
  [`${forgetList} DELETE FROM subscriptions ${ofOwner}`]: (tx, [key]: [number]) => {
    if (!forgets(tx, key)) return touched(0);
    tx.lock("subscriptions", key, "update");
    tx.put("subscriptions", key, undefined);
    return touched(1);
  },
};
