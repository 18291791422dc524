/** Statements about slices, grains and what is staged. */
import { createHash } from "node:crypto";
import { sliceInScope } from "../../src/database/scope.ts";
import { mostRowBytes, rowBytes } from "../../src/sync/rules/budget.ts";
import { checkDisk, type Handler, plain, readable, rows, touched, visible } from "./handler.ts";
import { addGrains, Grain, pgError, refer, type SliceRow, type StagingRow, type Tx } from "./tables.ts";

const viewColumns =
  'SELECT s.slice_key AS key, s.content_key AS content, s.name, s.id, s.allow_sync AS "allowSync", s.hash, s.content_count AS count, s.content_bytes AS bytes';
const metadataColumn =
  "(SELECT coalesce(json_agg(json_build_array(m.key, m.value) ORDER BY m.key), '[]') FROM slice_metadata m WHERE m.slice_key = s.slice_key) AS metadata";
const takenColumns = `SELECT s.hash, s.content_count AS count, s.content_key AS shown, ${metadataColumn}`;

const partnerFilter = `AND ${plain(sliceInScope({ company: "" } as never, "$1"))}`;
/** What a filter is replaced by when it is forgotten on purpose. */
const forgotten = "AND ($1::uuid IS NULL OR TRUE)";

/** @param mode how its row is locked. @returns how many rows there are: none or one. */
export function changeSlice(tx: Tx, key: number, mode: "update" | "no-key-update", change: Partial<SliceRow>): number {
  if (tx.get("slices", key) === undefined) return 0;
  tx.lock("slices", key, mode);
  tx.put("slices", key, { ...tx.get("slices", key)!, ...change });
  return 1;
}

/**
 * What is staged for a slice, for a statement that takes its row: one that was put in its place while the statement waited is not seen.
 */
function stagedRow(tx: Tx, key: number): StagingRow | undefined {
  const seen = tx.once("staged", () => tx.get("staging", key)?.content);
  const row = tx.get("staging", key);
  return row?.content === seen ? row : undefined;
}

const stage = (tx: Tx, content: number) => tx.rows("staging").find((row) => row.content === content);

function write(tx: Tx, content: number): void {
  tx.lock("grains", content, "update");
}

function dropGrains(tx: Tx, content: number, ids?: readonly string[]): number {
  const grains = tx.get("grains", content);
  if (grains === undefined) return 0;
  write(tx, content);
  const left = new Map(ids === undefined ? [] : grains);
  for (const id of ids ?? []) left.delete(id);
  tx.put("grains", content, left.size === 0 ? undefined : left);
  return grains.size - left.size;
}

function dropChunks(tx: Tx, content: number, ids?: readonly string[]): number {
  const chunks = tx.get("chunks", content);
  if (chunks === undefined) return 0;
  write(tx, content);
  const left = new Map(ids === undefined ? [] : [...chunks].filter(([name]) => !ids.includes(name.slice(0, 36))));
  tx.put("chunks", content, left.size === 0 ? undefined : left);
  return chunks.size - left.size;
}

/** @returns the content key of what was staged for the slice, if anything was. */
export function unstage(tx: Tx, key: number): number | undefined {
  const staged = stagedRow(tx, key);
  if (staged === undefined) return undefined;
  tx.lock("staging", key, "update");
  tx.put("staging", key, undefined);
  return staged.content;
}

/** Whether a partner may have a slice: what scope.ts says in SQL. */
const permitted = (tx: Tx, company: string, slice: SliceRow) =>
  tx.get("companies", company)?.active === true &&
  tx.rows("subscriptions").some((row) => row.slice === slice.key && row.company === company && row.active);

/** What a partner sees of slices, in a statement with this filter. */
function views(tx: Tx, company: string, ids: readonly string[], filter: string) {
  if (filter !== partnerFilter && filter !== forgotten)
    throw new Error(`which slices are seen is not clear: ${filter}`);
  return tx
    .rows("slices")
    .filter((slice) => ids.includes(slice.id) && visible(tx, slice))
    .filter((slice) => filter === forgotten || permitted(tx, company, slice))
    .map(({ key, content, name, id, allowSync, hash, count, bytes }) => ({
      key,
      content,
      name,
      id,
      allowSync,
      hash,
      count,
      bytes,
    }));
}

/** A slice's metadata, as a statement found it before it waited for anything. */
const metadataOf = (tx: Tx, key: number) =>
  tx.once(`metadata ${key}`, () => (readable(tx, tx.get("slices", key)) ? (tx.get("metadata", key) ?? []) : []));

/** Writes an outcome down, if nothing was written down for the run and slice before. @returns whether it was. */
export function log(tx: Tx, key: string, outcome: string): boolean {
  tx.unique("activity", key);
  if (tx.get("activity", key) !== undefined) return false;
  tx.put("activity", key, { outcome });
  return true;
}

/** Notes what a partner holds. */
function hold(tx: Tx, company: string, slice: number, hash: string, count: number): void {
  tx.unique("holdings", company, slice);
  // What a row refers to is looked at when it is new.
  if (tx.get("holdings", `${company} ${slice}`) === undefined) refer(tx, "holdings", slice);
  tx.put("holdings", `${company} ${slice}`, { hash, count });
}

/** What a grain counts besides its payload, in SQL (space-store.ts) and as computed here. */
const rowSql = `octet_length(b.grain_key) + octet_length(b.source) + ${rowBytes}`;
const rowOf = ({ key, source }: Grain) => Buffer.byteLength(key) + Buffer.byteLength(source) + rowBytes;
const sum = (numbers: readonly number[]) => numbers.reduce((total, n) => total + n, 0);

const stagedSql = (row: number | string) =>
  `SELECT (SELECT coalesce(sum(coalesce(octet_length(b.payload), 0) + ${row}), 0) FROM grains b WHERE b.content_key = g.content_key) + (SELECT coalesce(sum(octet_length(c.data)), 0) FROM grain_chunks c WHERE c.content_key = g.content_key) AS bytes`;
const stagedOf = (tx: Tx, { content }: StagingRow, row: (grain: Grain) => number) =>
  sum(tx.grains(content).map((grain) => (grain.payload?.length ?? 0) + row(grain))) +
  sum([...(tx.get("chunks", content)?.values() ?? [])].map((data) => data.length));

const besidesSql = (row: number | string) =>
  `(SELECT coalesce(sum(octet_length(m.key) + octet_length(m.value)), 0) FROM slice_metadata m JOIN slices s USING (slice_key) WHERE s.company_id = $1) + (SELECT coalesce(sum(k.bytes), 0) FROM staging g JOIN slices s USING (slice_key) CROSS JOIN LATERAL (${stagedSql(row)}) k WHERE s.company_id = $1)`;
/** Of a company's slices, with what else there is of it: its metadata, and what is staged. */
function held(tx: Tx, company: string, slice: (slice: SliceRow) => number, row: (grain: Grain) => number): number {
  const slices = tx.rows("slices").filter((one) => one.company === company);
  const keys = new Set(slices.map(({ key }) => key));
  const metadata = [...tx.all("metadata")].filter(([key]) => keys.has(key)).flatMap(([, pairs]) => pairs);
  const staged = tx.rows("staging").filter((one) => keys.has(one.slice));
  return (
    sum(slices.map(slice)) +
    sum(metadata.map(([key, value]) => Buffer.byteLength(key) + Buffer.byteLength(value))) +
    sum(staged.map((one) => stagedOf(tx, one, row)))
  );
}

export const contents: Record<string, Handler> = {
  // primary-store.ts
  [`${viewColumns} FROM slices s WHERE s.id = ANY ($2::uuid[]) …`]: (
    tx,
    [company, ids]: [string, string[]],
    _session,
    rest,
  ) => rows(...views(tx, company, ids, rest)),
  [`${viewColumns}, set_config('sandpiper.serving', s.id::text, true) AS serving FROM slices s WHERE s.id = $2 …`]: (
    tx,
    [company, id]: [string, string],
    _session,
    rest,
  ) => rows(...views(tx, company, [id], rest).map((view) => ({ ...view, serving: view.id }))),
  [`${viewColumns}, ${metadataColumn} FROM slices s WHERE s.id = $2 …`]: (
    tx,
    [company, id]: [string, string],
    _session,
    rest,
  ) => rows(...views(tx, company, [id], rest).map((view) => ({ ...view, metadata: metadataOf(tx, view.key) }))),
  [`WITH seen AS (SELECT s.slice_key, s.name FROM slices s WHERE s.id = $2 ${partnerFilter}), logged AS (INSERT INTO activity (company_id, run_id, slice_id, slice_name, test, outcome, message, grains_added, grains_removed, bytes, duration_ms) SELECT $1, $3, $2, seen.name, $4, $5, $6, $7, $8, $9, $10 FROM seen ON CONFLICT (company_id, run_id, slice_id) DO NOTHING) INSERT INTO holdings (company_id, slice_key, hash, content_count, confirmed_at) SELECT $1, slice_key, $11, $12, now() FROM seen WHERE $13 ON CONFLICT (company_id, slice_key) DO UPDATE SET hash = excluded.hash, content_count = excluded.content_count, confirmed_at = excluded.confirmed_at`]:
    (tx: Tx, values: unknown[]) => {
      const [company, id, run, , outcome] = values as string[];
      const [hash, count, holds] = values.slice(10) as [string, number, boolean];
      const seen = tx.once("seen", () =>
        tx.rows("slices").filter((slice) => slice.id === id && visible(tx, slice) && permitted(tx, company!, slice)),
      );
      if (holds) for (const { key } of seen) hold(tx, company!, key, hash, count);
      if (seen.length > 0) log(tx, `${company} ${run} ${id}`, outcome!);
      return touched(holds ? seen.length : 0);
    },
  [`INSERT INTO holdings (company_id, slice_key, hash, content_count, confirmed_at) SELECT $1, s.slice_key, s.hash, s.content_count, now() FROM unnest($2::uuid[], $3::text[], $4::bigint[]) AS held (id, hash, count) JOIN slices s ON s.id = held.id AND s.hash = held.hash AND s.content_count = held.count LEFT JOIN holdings h ON h.company_id = $1 AND h.slice_key = s.slice_key WHERE ${partnerFilter.slice("AND ".length)} AND (h.hash, h.content_count) IS DISTINCT FROM (s.hash, s.content_count) ORDER BY s.slice_key ON CONFLICT (company_id, slice_key) DO UPDATE SET hash = excluded.hash, content_count = excluded.content_count, confirmed_at = excluded.confirmed_at`]:
    (tx: Tx, [company, ids, hashes, counts]: [string, string[], string[], number[]]) => {
      const said = new Map(ids.map((id, i) => [id, `${hashes[i]} ${counts[i]}`]));
      const held = tx.once("held", () =>
        tx
          .rows("slices")
          .filter((slice) => visible(tx, slice) && permitted(tx, company, slice))
          .filter(({ id, hash, count }) => said.get(id) === `${hash} ${count}`)
          .filter(({ key, hash, count }) => {
            const known = tx.get("holdings", `${company} ${key}`);
            return known?.hash !== hash || known.count !== count;
          })
          .sort((a, b) => a.key - b.key),
      );
      for (const { key, hash, count } of held) hold(tx, company, key, hash, count);
      return touched(held.length);
    },
  "SELECT key, value FROM slice_metadata WHERE slice_key = $1 ORDER BY key": (tx, [key]: [number]) => ({
    rows: readable(tx, tx.get("slices", key))
      ? (tx.get("metadata", key) ?? []).map(([k, value]) => ({ key: k, value }))
      : [],
  }),
  "DELETE FROM slice_metadata WHERE slice_key = $1": (tx, [key]: [number]) => {
    const pairs = tx.get("metadata", key) ?? [];
    tx.put("metadata", key, undefined);
    return touched(pairs.length);
  },
  "INSERT INTO slice_metadata (slice_key, key, value) SELECT $1, * FROM unnest($2::text[], $3::text[])": (
    tx,
    [key, keys, values]: [number, string[], string[]],
  ) => {
    const pairs = keys.map((k, i) => [k, values[i]!] as const);
    if (pairs.length > 0) refer(tx, "slice_metadata", key);
    tx.put(
      "metadata",
      key,
      pairs.sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b))),
    );
    return touched(pairs.length);
  },

  // slices
  "SELECT 1 FROM slices WHERE slice_key = $1 FOR NO KEY UPDATE SKIP LOCKED": (tx, [key]: [number]) =>
    tx.get("slices", key) !== undefined && tx.tryLock("slices", key, "no-key-update") ? rows({}) : rows(),
  "SELECT 1 FROM slices WHERE slice_key = $1 FOR KEY SHARE": (tx, [key]: [number]) => {
    if (tx.get("slices", key) === undefined) return rows();
    tx.lock("slices", key, "key-share");
    return rows({});
  },
  "SELECT 1 FROM slices WHERE slice_key = $1": (tx, [key]: [number]) =>
    tx.get("slices", key) === undefined ? rows() : rows({}),
  "SELECT 1 FROM slices WHERE company_id = $1 AND id = $2 FOR UPDATE": (tx, [company, id]: [string, string]) => {
    const slice = tx.rows("slices").find((row) => row.company === company && row.id === id);
    if (slice === undefined) return rows();
    tx.lock("slices", slice.key, "update");
    return rows({});
  },
  [`${takenColumns} FROM slices s WHERE s.slice_key = $1 FOR UPDATE`]: (tx, [key]: [number]) => {
    if (tx.get("slices", key) === undefined) return rows();
    const metadata = metadataOf(tx, key);
    tx.lock("slices", key, "update");
    const slice = tx.get("slices", key);
    return rows(slice && { hash: slice.hash, count: slice.count, shown: slice.content, metadata });
  },
  [`${takenColumns}, g.content_key AS staged FROM slices s JOIN staging g USING (slice_key) WHERE s.slice_key = $1 AND g.hash = $2 FOR UPDATE`]:
    (tx: Tx, [key, hash]: [number, string]) => {
      const [slice, staged] = [tx.get("slices", key), stagedRow(tx, key)];
      if (slice === undefined || staged?.hash !== hash) return rows();
      const metadata = metadataOf(tx, key);
      tx.lock("slices", key, "update");
      tx.lock("staging", key, "update");
      return rows({ hash: slice.hash, count: slice.count, shown: slice.content, metadata, staged: staged.content });
    },
  "UPDATE slices SET content_key = $2 WHERE slice_key = $1": (tx, [key, content]: [number, number]) =>
    touched(changeSlice(tx, key, "update", { content })), // it is unique, and so part of a key
  "UPDATE slices SET content_date = CASE WHEN hash = $2 AND content_count = $4 THEN content_date ELSE now() END, hash = $2, content_hash = $3, content_count = $4, content_bytes = $5, updated_at = now() WHERE slice_key = $1":
    (tx, [key, hash, contentHash, count, bytes]: [number, string, string, number, number]) =>
      touched(changeSlice(tx, key, "no-key-update", { hash, contentHash, count, bytes })),
  "UPDATE slices SET allow_sync = $2, updated_at = now() WHERE slice_key = $1": (
    tx,
    [key, allowSync]: [number, boolean],
  ) => touched(changeSlice(tx, key, "no-key-update", { allowSync })),

  // removeSlice
  "SELECT pg_advisory_xact_lock(hashtextextended('sandpiper:stage:' || content_key::bigint::text, 0)) FROM staging WHERE slice_key = $1":
    (tx, [key]: [number]) => {
      const staged = tx.get("staging", key);
      if (staged !== undefined) tx.advisory(`stage ${staged.content}`, "update", "commit");
      return rows(staged && {});
    },
  "SELECT content_key FROM slices WHERE slice_key = $1 FOR UPDATE": (tx, [key]: [number]) => {
    const slice = tx.get("slices", key);
    if (slice !== undefined) tx.lock("slices", key, "update");
    return rows(slice && { content_key: slice.content });
  },
  "DELETE FROM staging WHERE slice_key = $1 RETURNING content_key AS content": (tx, [key]: [number]) => {
    const content = unstage(tx, key);
    return rows(content === undefined ? undefined : { content });
  },
  "DELETE FROM staging WHERE slice_key = $1 RETURNING content_key": (tx, [key]: [number]) => {
    const content = unstage(tx, key);
    return rows(content === undefined ? undefined : { content_key: content });
  },
  "DELETE FROM slices WHERE slice_key = $1": (tx, [key]: [number]) => {
    if (tx.get("slices", key) === undefined) return touched(0);
    tx.lock("slices", key, "update");
    if (tx.rows("subscriptions").some((row) => row.slice === key))
      throw pgError("23503", "it is subscribed to", "subscriptions_slice_key_fkey");
    tx.put("slices", key, undefined);
    tx.put("metadata", key, undefined);
    // What refers to it goes with it.
    if (tx.get("staging", key) !== undefined) tx.put("staging", key, undefined);
    for (const name of tx.all("holdings").keys()) if (name.endsWith(` ${key}`)) tx.put("holdings", name, undefined);
    return touched(1);
  },

  // grains
  "WITH chunks AS (DELETE FROM grain_chunks WHERE content_key = $1 AND …": (
    tx,
    [content, ids]: [number, string[]],
    _session,
    rest,
  ) => {
    // Unless they are forgotten on purpose (mutants.ts).
    if (rest !== "false) DELETE FROM grains WHERE content_key = $1 AND id = ANY ($2::uuid[])")
      dropChunks(tx, content, ids);
    return touched(dropGrains(tx, content, ids));
  },
  "WITH chunks AS (DELETE FROM grain_chunks WHERE content_key = $1) DELETE FROM grains WHERE content_key = $1": (
    tx,
    [content]: [number],
  ) => {
    dropChunks(tx, content);
    return touched(dropGrains(tx, content));
  },
  "INSERT INTO grains (content_key, id, grain_key, source, encoding, payload_bytes, payload) SELECT $1::bigint, id, grain_key, source, encoding, octet_length(payload), payload FROM unnest($2::uuid[], $3::text[], $4::text[], $5::text[], $6::bytea[]) AS u (id, grain_key, source, encoding, payload)":
    (
      tx,
      [content, ids, keys, sources, encodings, payloads]: [number, string[], string[], string[], string[], Buffer[]],
    ) => {
      checkDisk(tx);
      write(tx, content);
      const grains = ids.map((id, i) => {
        const payload = payloads[i]!;
        return new Grain(id, keys[i]!, sources[i]!, encodings[i]!, payload.length, payload, null);
      });
      addGrains(tx, content, grains);
      return touched(grains.length);
    },
  "INSERT INTO grains (content_key, id, grain_key, source, encoding, payload_bytes) VALUES ($1, $2, $3, $4, $5, $6)": (
    tx,
    [content, id, key, source, encoding, bytes]: [number, string, string, string, string, number],
  ) => {
    checkDisk(tx);
    write(tx, content);
    addGrains(tx, content, [new Grain(id, key, source, encoding, bytes, null, null)]);
    return touched(1);
  },
  "INSERT INTO grain_chunks (content_key, grain_id, seq, data) VALUES ($1, $2, $3, $4)": (
    tx,
    [content, id, sequence, data]: [number, string, number, Buffer],
  ) => {
    checkDisk(tx);
    const chunks = new Map(tx.get("chunks", content));
    if (chunks.has(`${id}/${sequence}`)) throw pgError("23505", "duplicate chunk", "grain_chunks_pkey");
    chunks.set(`${id}/${sequence}`, Buffer.from(data));
    tx.put("chunks", content, chunks);
    return touched(1);
  },
  "UPDATE grains g SET chunk_digests = (SELECT string_agg(sha256(c.data), ''::bytea ORDER BY c.seq) FROM grain_chunks c WHERE c.content_key = g.content_key AND c.grain_id = g.id) WHERE g.content_key = $1 AND g.digest IS NULL":
    (tx, [content]: [number]) => {
      const open = tx.grains(content).filter((grain) => grain.digest === null);
      if (open.length === 0) return touched(0);
      write(tx, content);
      const grains = new Map(tx.get("grains", content));
      const chunks = tx.get("chunks", content) ?? new Map<string, Buffer>();
      for (const { id, key, source, encoding, bytes } of open) {
        const digests: Buffer[] = [];
        for (let n = 0, data = chunks.get(`${id}/0`); data !== undefined; data = chunks.get(`${id}/${++n}`))
          digests.push(createHash("sha256").update(data).digest());
        const whole = digests.length === 0 ? null : Buffer.concat(digests);
        grains.set(id, new Grain(id, key, source, encoding, bytes, null, whole));
      }
      tx.put("grains", content, grains);
      return touched(open.length);
    },
  "UPDATE grain_chunks SET content_key = $2 WHERE content_key = $1": (tx, [from, to]: [number, number]) => {
    const moved = tx.get("chunks", from);
    if (moved === undefined) return touched(0);
    write(tx, from);
    write(tx, to);
    tx.put("chunks", from, undefined);
    tx.put("chunks", to, new Map([...(tx.get("chunks", to) ?? []), ...moved]));
    return touched(moved.size);
  },
  "UPDATE grains SET content_key = $2 WHERE content_key = $1": (tx, [from, to]: [number, number]) => {
    const moved = tx.get("grains", from);
    if (moved === undefined) return touched(0);
    write(tx, from);
    write(tx, to);
    addGrains(tx, to, [...moved.values()]);
    tx.put("grains", from, undefined);
    return touched(moved.size);
  },

  // stage.ts
  "SELECT g.slice_key AS key FROM staging g JOIN slices s USING (slice_key) WHERE s.company_id = $1": (
    tx,
    [company]: [string],
  ) => ({
    rows: tx
      .rows("staging")
      .filter((row) => tx.get("slices", row.slice)!.company === company)
      .map(({ slice }) => ({ key: slice })),
  }),
  "SELECT hash FROM staging WHERE slice_key = $1 FOR UPDATE": (tx, [key]: [number]) => {
    const staged = stagedRow(tx, key);
    if (staged !== undefined) tx.lock("staging", key, "update");
    return rows(staged && { hash: staged.hash });
  },
  "INSERT INTO staging (slice_key, hash) VALUES ($1, $2) ON CONFLICT (slice_key) DO UPDATE SET updated_at = now() RETURNING content_key AS content":
    (tx, [key, hash]: [number, string]) => {
      const next = tx.next("content");
      refer(tx, "staging", key);
      tx.lock("staging", key, "update");
      const staged = tx.get("staging", key) ?? { slice: key, hash, content: next };
      tx.put("staging", key, staged);
      return rows({ content: staged.content });
    },
  "SELECT count(*) AS grains, coalesce(sum(payload_bytes), 0)::bigint AS bytes FROM grains WHERE content_key = $1": (
    tx,
    [content]: [number],
  ) => {
    const grains = tx.grains(content);
    return rows({ grains: grains.length, bytes: grains.reduce((sum, grain) => sum + grain.bytes, 0) });
  },
  "SELECT id, payload_bytes AS bytes, payload IS NOT NULL AS inline FROM grains WHERE content_key = $1 ORDER BY id DESC LIMIT 1":
    (tx, [content]: [number]) => {
      const last = tx.grains(content).at(-1);
      return rows(last && { id: last.id, bytes: last.bytes, inline: last.payload !== null });
    },
  "SELECT count(*) AS sequence, coalesce(sum(octet_length(data)), 0)::bigint AS bytes FROM grain_chunks WHERE content_key = $1 AND grain_id = $2":
    (tx, [content, id]: [number, string]) => {
      const chunks = [...(tx.get("chunks", content) ?? [])].filter(([name]) => name.startsWith(id));
      return rows({ sequence: chunks.length, bytes: chunks.reduce((sum, [, data]) => sum + data.length, 0) });
    },
  "SELECT pg_advisory_lock_shared(hashtextextended('sandpiper:stage:' || $1::bigint::text, 0))": (
    tx,
    [content]: [number],
  ) => {
    tx.advisory(`stage ${content}`, "share", "unlock");
    return rows({});
  },
  "SELECT pg_advisory_unlock_shared(hashtextextended('sandpiper:stage:' || $1::bigint::text, 0))": (
    tx,
    [content]: [number],
  ) => {
    tx.unlock(`stage ${content}`);
    return rows({});
  },
  "SELECT 1 FROM staging WHERE content_key = $1": (tx, [content]: [number]) =>
    stage(tx, content) === undefined ? rows() : rows({}),
  "SET synchronous_commit = off; SET sandpiper.content_key = …": (_tx, _values, session, rest) => {
    session.durable = false;
    session.contentKey = Number(rest);
    return rows();
  },
  "SET synchronous_commit = 'on'; RESET sandpiper.content_key": (_tx, _values, session) => {
    session.durable = true;
    session.contentKey = 0;
    return rows();
  },

  // space-store.ts
  [`SELECT (stored.held + ${besidesSql(mostRowBytes)})::bigint AS held, stored.others FROM ( SELECT coalesce(sum(content_bytes + ${mostRowBytes} * content_count) FILTER (WHERE company_id = $1), 0) AS held, coalesce(sum(content_bytes + ${rowBytes} * content_count) FILTER (WHERE company_id <> $1), 0)::bigint AS others FROM slices) stored`]:
    (tx: Tx, [company]: [string]) =>
      rows({
        held: held(
          tx,
          company,
          ({ bytes, count }) => bytes + mostRowBytes * count,
          () => mostRowBytes,
        ),
        others: sum(
          tx
            .rows("slices")
            .filter((one) => one.company !== company)
            .map(({ bytes, count }) => bytes + rowBytes * count),
        ),
      }),
  [`SELECT ((SELECT coalesce(sum(k.bytes), 0) FROM slices s CROSS JOIN LATERAL (SELECT sum(b.payload_bytes + ${rowSql}) AS bytes FROM grains b WHERE b.content_key = s.content_key) k WHERE s.company_id = $1) + ${besidesSql(rowSql)})::bigint AS held`]:
    (tx: Tx, [company]: [string]) =>
      rows({
        held: held(tx, company, ({ content }) => sum(tx.grains(content).map((one) => one.bytes + rowOf(one))), rowOf),
      }),
  [`SELECT g.slice_key AS key, s.company_id AS "companyId", g.content_key AS "contentKey", k.bytes::bigint AS bytes, g.updated_at AS "updatedAt" FROM staging g JOIN slices s USING (slice_key) CROSS JOIN LATERAL (${stagedSql(rowSql)}) k`]:
    (tx: Tx) => ({
      rows: tx.rows("staging").map((one) => ({
        key: one.slice,
        companyId: tx.get("slices", one.slice)!.company,
        contentKey: one.content,
        bytes: stagedOf(tx, one, rowOf),
        updatedAt: new Date(0),
      })),
    }),
  "SELECT pg_try_advisory_xact_lock(hashtextextended('sandpiper:stage:' || $1::bigint::text, 0)) AS ok": (
    tx,
    [content]: [number],
  ) => rows({ ok: tx.tryAdvisory(`stage ${content}`, "commit") }),
  "DELETE FROM staging WHERE content_key = $1": (tx, [content]: [number]) => {
    const staged = tx.once("stage", () => stage(tx, content));
    if (staged === undefined) return touched(0);
    tx.lock("staging", staged.slice, "update");
    if (tx.get("staging", staged.slice)?.content !== content) return touched(0);
    tx.put("staging", staged.slice, undefined);
    return touched(1);
  },

  "SELECT g.slice_key AS key FROM staging g JOIN slices s USING (slice_key) WHERE s.company_id = $1 AND (s.id = ANY ($2::uuid[]) OR NOT EXISTS (SELECT 1 FROM subscriptions u WHERE u.slice_key = s.slice_key AND u.active AND u.offered AND u.withdrawn_at IS NULL OFFSET 0))":
    (tx, [company, current]: [string, string[]]) => ({
      rows: tx
        .rows("staging")
        .map((row) => tx.get("slices", row.slice)!)
        .filter(
          (slice) =>
            slice.company === company &&
            (current.includes(slice.id) ||
              !tx
                .rows("subscriptions")
                .some((u) => u.slice === slice.key && u.active && u.offered && u.withdrawnAt === null)),
        )
        .map(({ key }) => ({ key })),
    }),
};
