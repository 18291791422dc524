/** Statements about slices, grains and what is staged. */
import { createHash } from "node:crypto";
import { mostRowBytes, rowBytes } from "../../src/sync/rules/budget.ts";
import { argument, checkDisk, type Handler, readable, rows, touched, visible } from "./handler.ts";
import { addGrains, Grain, pgError, refer, type SliceRow, type StagingRow, type Tx } from "./tables.ts";

/** What a statement that stores a slice's content stores, and of which slice. */
export function contentIn(
  values: readonly unknown[],
): Pick<SliceRow, "key" | "hash" | "sum" | "count" | "bytes" | "sketch"> {
  const [key, hash, sum, count, bytes, sketch] = values as [number, string, Buffer, number, number, Buffer];
  return { key, hash, sum, count, bytes, sketch };
}

/** What a slice says of itself. */
const figuresOf = ({ sum, count, bytes, sketch }: SliceRow) => ({ sum, count, bytes, sketch });

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

const marksOf = (grains: readonly Grain[]) =>
  Buffer.concat([...grains].sort((a, b) => (a.id < b.id ? -1 : 1)).map(({ mark }) => mark));

function removed(tx: Tx, content: number, ids: readonly string[]) {
  const there = tx.get("grains", content);
  const gone = ids.flatMap((id) => there?.get(id) ?? []);
  dropGrains(tx, content, ids);
  return rows({ marks: marksOf(gone) });
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

/** What a partner sees of slices. */
function views(tx: Tx, company: string, ids: readonly string[], may = permitted) {
  return tx
    .rows("slices")
    .filter((slice) => ids.includes(slice.id) && visible(tx, slice) && may(tx, company, slice))
    .map(({ key, content, name, id, allowSync, hash, count, bytes }) => ({
      key,
      contentKey: content,
      name,
      id,
      allowSync,
      hash,
      count,
      bytes,
    }));
}

const viewSlice =
  (may = permitted): Handler =>
  (tx, [company, id]: [string, string]) =>
    rows(...views(tx, company, [id], may).map((view) => ({ ...view, serving: view.id })));

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

/** What a grain counts besides its payload. */
const rowOf = ({ key, source }: Grain) => Buffer.byteLength(key) + Buffer.byteLength(source) + rowBytes;
const sum = (numbers: readonly number[]) => numbers.reduce((total, n) => total + n, 0);

const stagedOf = (tx: Tx, { content }: StagingRow, row: (grain: Grain) => number) =>
  sum(tx.grains(content).map((grain) => (grain.payload?.length ?? 0) + row(grain))) +
  sum([...(tx.get("chunks", content)?.values() ?? [])].map((data) => data.length));

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
  viewSlices: (tx, [company, ids]: [string, string[]]) => rows(...views(tx, company, ids)),
  viewSlice: viewSlice(),
  viewSliceFaulty: viewSlice(() => true),
  readSliceMetadata: (tx, [company, id]: [string, string]) =>
    rows(...views(tx, company, [id]).map((view) => ({ ...view, metadata: metadataOf(tx, view.key) }))),
  recordConfirm: (tx: Tx, values: unknown[]) => {
    const [company, id, run, , outcome] = values as string[];
    const [hash, count, holds] = values.slice(10) as [string, number, boolean];
    const seen = tx.once("seen", () =>
      tx.rows("slices").filter((slice) => slice.id === id && visible(tx, slice) && permitted(tx, company!, slice)),
    );
    if (holds) for (const { key } of seen) hold(tx, company!, key, hash, count);
    if (seen.length > 0) log(tx, `${company} ${run} ${id}`, outcome!);
    return touched(holds ? seen.length : 0);
  },
  recordHeld: (tx: Tx, [company, ids, hashes, counts]: [string, string[], string[], number[]]) => {
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
  readMetadata: (tx, [key]: [number]) => ({
    rows: readable(tx, tx.get("slices", key))
      ? (tx.get("metadata", key) ?? []).map(([k, value]) => ({ key: k, value }))
      : [],
  }),
  replaceMetadataOld: (tx, [key]: [number]) => {
    const pairs = tx.get("metadata", key) ?? [];
    tx.put("metadata", key, undefined);
    return touched(pairs.length);
  },
  replaceMetadata: (tx, [key, keys, values]: [number, string[], string[]]) => {
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
  takeSlice: (tx, [key]: [number]) => {
    const slice = tx.get("slices", key);
    if (slice === undefined || !tx.tryLock("slices", key, "no-key-update")) return rows();
    return rows({ contentKey: slice.content, hash: slice.hash, ...figuresOf(slice) });
  },
  openStageSlice: (tx, [key]: [number]) => {
    if (tx.get("slices", key) === undefined) return rows();
    tx.lock("slices", key, "key-share");
    return rows({});
  },
  takeSliceThere: (tx, [key]: [number]) => (tx.get("slices", key) === undefined ? rows() : rows({})),
  wasCommittedSlice: (tx, [company, id]: [string, string]) => {
    const slice = tx.rows("slices").find((row) => row.company === company && row.id === id);
    if (slice === undefined) return rows();
    tx.lock("slices", slice.key, "update");
    return rows({});
  },
  take: (tx, [key]: [number]) => {
    if (tx.get("slices", key) === undefined) return rows();
    const metadata = metadataOf(tx, key);
    tx.lock("slices", key, "update");
    const slice = tx.get("slices", key);
    return rows(slice && { hash: slice.hash, shown: slice.content, ...figuresOf(slice), metadata });
  },
  takeStaged: (tx: Tx, [key, hash]: [number, string]) => {
    const [slice, staged] = [tx.get("slices", key), stagedRow(tx, key)];
    if (slice === undefined || staged?.hash !== hash) return rows();
    const metadata = metadataOf(tx, key);
    tx.lock("slices", key, "update");
    tx.lock("staging", key, "update");
    return rows({ hash: slice.hash, shown: slice.content, ...figuresOf(slice), metadata, staged: staged.content });
  },
  show: (tx, [key, content]: [number, number]) => touched(changeSlice(tx, key, "update", { content })), // it is unique, and so part of a key
  storeContent: (tx, values: unknown[]) => {
    const { key, ...content } = contentIn(values);
    return touched(changeSlice(tx, key, "no-key-update", content));
  },
  storeContentFaulty: (tx, values: unknown[]) => {
    const { key, sketch: _sketch, ...content } = contentIn(values);
    return touched(changeSlice(tx, key, "no-key-update", content));
  },
  readSketch: (tx, [key, bytes]: [number, number]) => {
    const slice = tx.get("slices", key);
    return rows(slice && visible(tx, slice) ? { cells: slice.sketch.subarray(0, bytes) } : undefined);
  },
  isAsIt: (tx, [key, hash, count]: [number, string, number]) => {
    const slice = tx.get("slices", key);
    return rows(slice?.hash === hash && slice.count === count ? {} : undefined);
  },
  setAllowSync: (tx, [key, allowSync]: [number, boolean]) =>
    touched(changeSlice(tx, key, "no-key-update", { allowSync })),

  // removeSlice
  removeSliceLock: (tx, [key]: [number]) => {
    const staged = tx.get("staging", key);
    if (staged !== undefined) tx.advisory(`stage ${staged.content}`, "update", "commit");
    return rows(staged && {});
  },
  removeSliceRow: (tx, [key]: [number]) => {
    const slice = tx.get("slices", key);
    if (slice !== undefined) tx.lock("slices", key, "update");
    return rows(slice && { content_key: slice.content });
  },
  clearStage: (tx, [key]: [number]) => {
    const content = unstage(tx, key);
    return rows(content === undefined ? undefined : { contentKey: content });
  },
  removeSliceStage: (tx, [key]: [number]) => {
    const content = unstage(tx, key);
    return rows(content === undefined ? undefined : { content_key: content });
  },
  removeSlice: (tx, [key]: [number]) => {
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
  remove: (tx, [content, ids]: [number, string[]]) => {
    dropChunks(tx, content, ids);
    return removed(tx, content, ids);
  },
  removeFaulty: (tx, [content, ids]: [number, string[]]) => removed(tx, content, ids),
  clear: (tx, [content]: [number]) => {
    dropChunks(tx, content);
    return touched(dropGrains(tx, content));
  },
  put: (
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
    return rows({ marks: marksOf(grains) });
  },
  putStreamMark: (tx, [content, id]: [number, string]) =>
    rows({ marks: tx.get("grains", content)?.get(id)?.mark ?? Buffer.alloc(0) }),
  putStream: (tx, [content, id, key, source, encoding, bytes]: [number, string, string, string, string, number]) => {
    checkDisk(tx);
    write(tx, content);
    addGrains(tx, content, [new Grain(id, key, source, encoding, bytes, null, null)]);
    return touched(1);
  },
  putPiece: (tx, [content, id, sequence, data]: [number, string, number, Buffer]) => {
    checkDisk(tx);
    const chunks = new Map(tx.get("chunks", content));
    if (chunks.has(`${id}/${sequence}`)) throw pgError("23505", "duplicate chunk", "grain_chunks_pkey");
    chunks.set(`${id}/${sequence}`, Buffer.from(data));
    tx.put("chunks", content, chunks);
    return touched(1);
  },
  digest: (tx, [content]: [number]) => {
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
  moveChunks: (tx, [from, to]: [number, number]) => {
    const moved = tx.get("chunks", from);
    if (moved === undefined) return touched(0);
    write(tx, from);
    write(tx, to);
    tx.put("chunks", from, undefined);
    tx.put("chunks", to, new Map([...(tx.get("chunks", to) ?? []), ...moved]));
    return touched(moved.size);
  },
  move: (tx, [from, to]: [number, number]) => {
    const moved = tx.get("grains", from);
    if (moved === undefined) return touched(0);
    write(tx, from);
    write(tx, to);
    addGrains(tx, to, [...moved.values()]);
    tx.put("grains", from, undefined);
    return touched(moved.size);
  },

  // stage.ts
  readStaged: (tx, [company]: [string]) => ({
    rows: tx
      .rows("staging")
      .filter((row) => tx.get("slices", row.slice)!.company === company)
      .map(({ slice }) => ({ key: slice })),
  }),
  openStageOld: (tx, [key]: [number]) => {
    const staged = stagedRow(tx, key);
    if (staged !== undefined) tx.lock("staging", key, "update");
    return rows(staged && { hash: staged.hash });
  },
  openStage: (tx, [key, hash]: [number, string]) => {
    const next = tx.next("content");
    refer(tx, "staging", key);
    tx.lock("staging", key, "update");
    const staged = tx.get("staging", key) ?? { slice: key, hash, content: next };
    tx.put("staging", key, staged);
    return rows({ contentKey: staged.content });
  },
  arrived: (tx, [content]: [number]) => {
    const grains = tx.grains(content);
    return rows({ grains: grains.length, bytes: grains.reduce((sum, grain) => sum + grain.bytes, 0) });
  },
  arrivedLast: (tx, [content]: [number]) => {
    const last = tx.grains(content).at(-1);
    return rows(last && { id: last.id, bytes: last.bytes, inline: last.payload !== null });
  },
  arrivedChunks: (tx, [content, id]: [number, string]) => {
    const chunks = [...(tx.get("chunks", content) ?? [])].filter(([name]) => name.startsWith(id));
    return rows({ sequence: chunks.length, bytes: chunks.reduce((sum, [, data]) => sum + data.length, 0) });
  },
  stageBeginLock: (tx, [content]: [number]) => {
    tx.advisory(`stage ${content}`, "share", "unlock");
    return rows({});
  },
  stageEndLock: (tx, [content]: [number]) => {
    tx.unlock(`stage ${content}`);
    return rows({});
  },
  stageBeginThere: (tx, [content]: [number]) => (stage(tx, content) === undefined ? rows() : rows({})),
  stageBegin: (_tx, _values, session, text) => {
    session.durable = false;
    session.contentKey = Number(argument(text, "sandpiper.content_key = (\\d+)"));
    return rows();
  },
  stageEnd: (_tx, _values, session) => {
    session.durable = true;
    session.contentKey = 0;
    return rows();
  },

  // space-store.ts
  estimateHeld: (tx: Tx, [company]: [string]) =>
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
  measureHeld: (tx: Tx, [company]: [string]) =>
    rows({
      held: held(tx, company, ({ content }) => sum(tx.grains(content).map((one) => one.bytes + rowOf(one))), rowOf),
    }),
  listStages: (tx: Tx) => ({
    rows: tx.rows("staging").map((one) => ({
      key: one.slice,
      companyId: tx.get("slices", one.slice)!.company,
      contentKey: one.content,
      bytes: stagedOf(tx, one, rowOf),
      updatedAt: new Date(0),
    })),
  }),
  giveUpStageLock: (tx, [content]: [number]) => rows({ ok: tx.tryAdvisory(`stage ${content}`, "commit") }),
  giveUpStage: (tx, [content]: [number]) => {
    const staged = tx.once("stage", () => stage(tx, content));
    if (staged === undefined) return touched(0);
    tx.lock("staging", staged.slice, "update");
    if (tx.get("staging", staged.slice)?.content !== content) return touched(0);
    tx.put("staging", staged.slice, undefined);
    return touched(1);
  },

  sweepStages: (tx, [company, current]: [string, string[]]) => ({
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
