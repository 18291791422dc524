/** What a primary's session reads and writes in the database: always within the partner's scope, always with the view of the slice in the same snapshot. */
import type { Database, Session } from "../database.ts";
import { refersToNothing } from "../database-errors.ts";
import { type Scope, scopeValue, slicesInScope } from "../scope.ts";
import type { Metadata } from "../slices/hash.ts";
import { type CompanyId, type ContentKey, chunkBytes, type SliceKey, uuidText } from "../slices/slice.ts";
import { readMetadata } from "../slices/slice-store.ts";
import { copyBody, tupleEnds } from "../slices/tuples.ts";
import { addActivity, setHolding } from "../subscriptions/activity-store.ts";
import { idBytes } from "./frames.ts";
import { readList } from "./grain-lists.ts";
import type { Confirm } from "./messages.ts";
import type { Held, Read, Records, SliceView } from "./primary-port.ts";
import { idsBeyond } from "./reconcile.ts";

const listPage = 100_000;
/** Bytes of grains that one read comes to at most: what a partner can make the primary hold at once. The largest record is half of it. */
const readBytes = 2 * chunkBytes;
/** What a record takes besides its key, source and payload. */
const recordBytes = 64;

type Row = SliceView & { key: SliceKey; content: ContentKey; name: string };

/** The slices among `ids` that the partner may see now. */
export async function viewSlices(
  db: Pick<Database | Session, "query">,
  scope: Scope,
  ids: readonly string[],
): Promise<Row[]> {
  return db.query<Row>(
    `SELECT s.slice_key AS key, s.content_key AS content, s.name, s.id, s.allow_sync AS "allowSync", s.hash, s.content_count AS count, s.content_bytes AS bytes
     FROM slices s WHERE s.id = ANY ($2::uuid[]) AND ${slicesInScope(scope, "$1")}`,
    [scopeValue(scope), ids],
  );
}

/** Reads something of a slice together with the partner's view of it, in one snapshot. */
export async function read<T>(
  db: Database,
  scope: Scope,
  id: string,
  nothing: T,
  work: (session: Session, slice: Row) => Promise<T>,
): Promise<Read<T>> {
  return db.transaction(
    async (tx) => {
      const [view] = await viewSlices(tx, scope, [id]);
      return { view, data: view === undefined ? nothing : await work(tx, view) };
    },
    { readOnly: true, snapshot: true },
  );
}

export const readSliceMetadata = (db: Database, scope: Scope, id: string): Promise<Read<Metadata>> =>
  read<Metadata>(db, scope, id, [], (tx, slice) => readMetadata(tx, slice.key));

export const readSliceList = (db: Database, scope: Scope, id: string, after: Buffer | null): Promise<Read<Buffer>> =>
  read<Buffer>(db, scope, id, Buffer.alloc(0), (tx, slice) =>
    readList(tx, slice.content, after, Math.min(listPage, slice.count)),
  );

/**
 * Grain records after `after`, of those in `wanted` if given: as many as make {@link readBytes} at most, at least one if there is one.
 * Their sizes are added up in the order of the index, and payloads beyond are not touched: a mean says nothing about those that were chosen.
 */
export function readGrains(
  db: Database,
  scope: Scope,
  id: string,
  after: Buffer | null,
  wanted: Buffer | null,
): Promise<Read<Records>> {
  const none: Records = { bytes: Buffer.alloc(0), ends: [] };
  return read<Records>(db, scope, id, none, async (tx, slice) => {
    // Only how many rows are looked at: a page that is cut short has been paid for by the size of its grains.
    const mean = recordBytes + slice.bytes / Math.max(1, slice.count);
    const limit = Math.ceil(readBytes / Math.min(mean, chunkBytes));
    const condition =
      wanted === null
        ? after === null
          ? ""
          : `AND id > '${uuidText(after)}'`
        : `AND id IN (${idList(wanted, after, limit)})`;
    if (condition.endsWith("IN ()")) return none;
    // By the index, whatever is known of the table: in one that was never analyzed, all that is left of the slice is sorted for each page.
    await tx.run("SET LOCAL enable_sort = off");
    // A COPY takes no parameters: what stands in it are our own numbers and ids made from 16 bytes here.
    const rows = tx.copyOut(
      `COPY (SELECT id, grain_key, source, encoding, payload_bytes, payload FROM (SELECT id, grain_key, source, encoding, payload_bytes, payload,
           sum(${recordBytes} + octet_length(grain_key) + octet_length(source) + coalesce(octet_length(payload), 0)) OVER (ORDER BY id ROWS UNBOUNDED PRECEDING) AS total
         FROM grains WHERE content_key = ${Number(slice.content)} ${condition} ORDER BY id LIMIT ${limit}) page
         WHERE total <= ${readBytes} ORDER BY id) TO STDOUT (FORMAT binary)`,
    );
    const body = await collect(rows);
    const ends = tupleEnds(body);
    return { bytes: body.subarray(0, ends.at(-1) ?? 0), ends };
  });
}

/** The first `limit` ids of `wanted` beyond `after`, as SQL literals. */
function idList(wanted: Buffer, after: Buffer | null, limit: number): string {
  const due = idsBeyond(wanted, after);
  const ids: string[] = [];
  for (let at = 0; at < due.length && ids.length < Math.min(limit, 5000); at += idBytes) {
    ids.push(`'${uuidText(due.subarray(at, at + idBytes))}'`);
  }
  return ids.join(",");
}

/** A chunk of a large grain; empty when there is none. */
export const readChunk = (
  db: Database,
  scope: Scope,
  id: string,
  grainId: Buffer,
  sequence: number,
): Promise<Read<Buffer>> =>
  read<Buffer>(db, scope, id, Buffer.alloc(0), async (tx, slice) => {
    const rows = tx.copyOut(
      `COPY (SELECT data FROM grain_chunks WHERE content_key = ${Number(slice.content)} AND grain_id = '${uuidText(grainId)}' AND seq = ${Number(sequence)})
         TO STDOUT (FORMAT binary)`,
    );
    const body = await collect(rows);
    const [end] = tupleEnds(body);
    // Behind the field count and the length.
    return body.subarray(2 + 4, end ?? 2 + 4);
  });

/** The body of a COPY, whole. */
async function collect(rows: AsyncIterable<Buffer>): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of copyBody(rows)) pieces.push(piece);
  return Buffer.concat(pieces);
}

/** Stores which of the slices that a partner names it holds as they are now; what is known already is not written again. */
export async function recordHeld(db: Database, companyId: CompanyId, { ids, hashes, counts }: Held): Promise<void> {
  await unlessRemoved(
    db.run(
      `INSERT INTO holdings (company_id, slice_key, hash, content_count, confirmed_at)
       SELECT $1, s.slice_key, s.hash, s.content_count, now()
       FROM unnest($2::uuid[], $3::text[], $4::bigint[]) AS held (id, hash, count)
         JOIN slices s ON s.id = held.id AND s.hash = held.hash AND s.content_count = held.count
         LEFT JOIN holdings h ON h.company_id = $1 AND h.slice_key = s.slice_key
       WHERE ${slicesInScope({ company: companyId }, "$1")} AND (h.hash, h.content_count) IS DISTINCT FROM (s.hash, s.content_count)
       ORDER BY s.slice_key
       ON CONFLICT (company_id, slice_key) DO UPDATE SET hash = excluded.hash, content_count = excluded.content_count, confirmed_at = excluded.confirmed_at`,
      [companyId, ids, hashes, counts],
    ),
  );
}

/** Stores what a partner reports, in its name, once a run and slice. What it may not see is accepted and forgotten. */
export async function recordConfirm(db: Database, companyId: CompanyId, confirm: Confirm): Promise<void> {
  await unlessRemoved(
    db.transaction(async (tx) => {
      const [slice] = await viewSlices(tx, { company: companyId }, [confirm.id]);
      if (slice === undefined) return;
      await addActivity(tx, {
        companyId,
        runId: confirm.run_id,
        sliceId: confirm.id,
        sliceName: slice.name,
        subId: null,
        test: confirm.test,
        outcome: confirm.outcome,
        message: confirm.message.replace(/[^ -~]/g, "?"),
        grainsAdded: confirm.added,
        grainsRemoved: confirm.removed,
        bytes: confirm.bytes,
        durationMs: confirm.duration_ms,
      });
      if (!confirm.test && confirm.outcome === "updated")
        await setHolding(tx, companyId, slice.key, confirm.hash, confirm.count);
    }),
  );
}

/** What a partner holds of a slice that is removed meanwhile is of no interest any more. */
async function unlessRemoved(work: Promise<unknown>): Promise<void> {
  await work.catch((error: unknown) => {
    if (!refersToNothing(error)) throw error;
  });
}
