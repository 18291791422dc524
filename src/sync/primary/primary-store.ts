/** What a primary's session reads and writes in the database: always within the partner's scope, always with the view of the slice in the same snapshot. */
import type { Database, Session } from "../../database/database.ts";
import { refersToNothing } from "../../database/database-errors.ts";
import { prepared } from "../../database/prepared.ts";
import { type Scope, scopeValue, sliceInScope } from "../../database/scope.ts";
import type { CompanyId, ContentKey, SliceKey } from "../../ids.ts";
import { readList } from "../../slices/grain-lists.ts";
import { payloads } from "../../slices/payloads/payloads.ts";
import type { Metadata } from "../../slices/rules/hash.ts";
import type { Records } from "../../slices/rules/records.ts";
import { metadataColumn } from "../../slices/slice-store.ts";
import { idsBeyond } from "../protocol/id-lists.ts";
import type { Confirm } from "../protocol/messages.ts";
import type { Held, Read, SliceView } from "../protocol/primary-port.ts";

const listPage = 100_000;

type Row = SliceView & { key: SliceKey; contentKey: ContentKey; name: string };

const viewColumns = `s.slice_key AS key, s.content_key AS "contentKey", s.name, s.id, s.allow_sync AS "allowSync", s.hash, s.content_count AS count, s.content_bytes AS bytes`;

/**
 * The slice, if the partner may see it now. For the rest of the transaction row-level security looks at what is permitted of this
 * one alone (0009-rights-by-index.sql).
 */
const viewSlice = (db: Pick<Database | Session, "query">, scope: Scope, id: string): Promise<Row[]> =>
  db.query<Row>(
    prepared(
      `/* viewSlice */ SELECT ${viewColumns}, set_config('sandpiper.serving', s.id::text, true) AS serving FROM slices s WHERE s.id = $2 AND ${sliceInScope(scope, "$1")}`,
    ),
    [scopeValue(scope), id],
  );

/** The slices among `ids` that the partner may see now. */
export async function viewSlices(
  db: Pick<Database | Session, "query">,
  scope: Scope,
  ids: readonly string[],
): Promise<Row[]> {
  if (ids.length === 1) return viewSlice(db, scope, ids[0]!);
  return db.query<Row>(
    `/* viewSlices */ SELECT ${viewColumns} FROM slices s WHERE s.id = ANY ($2::uuid[]) AND ${sliceInScope(scope, "$1")}`,
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
      const [view] = await viewSlice(tx, scope, id);
      return { view, data: view === undefined ? nothing : await work(tx, view) };
    },
    { readOnly: true, snapshot: true },
  );
}

/** A slice's metadata with the partner's view of it: in one statement, for it is the first that every slice costs. */
export async function readSliceMetadata(db: Database, scope: Scope, id: string): Promise<Read<Metadata>> {
  const view = await db.one<Row & { metadata: Metadata }>(
    prepared(
      `/* readSliceMetadata */ SELECT ${viewColumns}, ${metadataColumn} FROM slices s WHERE s.id = $2 AND ${sliceInScope(scope, "$1")}`,
    ),
    [scopeValue(scope), id],
  );
  return { view, data: view?.metadata ?? [] };
}

export const readSliceList = (db: Database, scope: Scope, id: string, after: Buffer | null): Promise<Read<Buffer>> =>
  read<Buffer>(db, scope, id, Buffer.alloc(0), (tx, slice) =>
    readList(tx, slice.contentKey, after, Math.min(listPage, slice.count)),
  );

/** A page of the grain records after `after`, of those in `wanted` if given. */
export const readGrains = (
  db: Database,
  scope: Scope,
  id: string,
  after: Buffer | null,
  wanted: Buffer | null,
): Promise<Read<Records>> =>
  read<Records>(db, scope, id, { bytes: Buffer.alloc(0), ends: [] }, (tx, slice) =>
    payloads.page(tx, slice.contentKey, wanted === null ? { after } : { ids: idsBeyond(wanted, after) }, slice),
  );

/** A chunk of a large grain; empty when there is none. */
export const readChunk = (
  db: Database,
  scope: Scope,
  id: string,
  grainId: Buffer,
  sequence: number,
): Promise<Read<Buffer>> =>
  read<Buffer>(
    db,
    scope,
    id,
    Buffer.alloc(0),
    async (tx, slice) => (await payloads.piece(tx, slice.contentKey, grainId, sequence)) ?? Buffer.alloc(0),
  );

/** Stores which of the slices that a partner names it holds as they are now; what is known already is not written again. */
export async function recordHeld(db: Database, companyId: CompanyId, { ids, hashes, counts }: Held): Promise<void> {
  const scope = { company: companyId };
  await unlessRemoved(
    db.run(
      `/* recordHeld */ INSERT INTO holdings (company_id, slice_key, hash, content_count, confirmed_at)
       SELECT $1, s.slice_key, s.hash, s.content_count, now()
       FROM unnest($2::uuid[], $3::text[], $4::bigint[]) AS held (id, hash, count)
         JOIN slices s ON s.id = held.id AND s.hash = held.hash AND s.content_count = held.count
         LEFT JOIN holdings h ON h.company_id = $1 AND h.slice_key = s.slice_key
       WHERE ${sliceInScope(scope, "$1")} AND (h.hash, h.content_count) IS DISTINCT FROM (s.hash, s.content_count)
       ORDER BY s.slice_key
       ON CONFLICT (company_id, slice_key) DO UPDATE SET hash = excluded.hash, content_count = excluded.content_count, confirmed_at = excluded.confirmed_at`,
      [companyId, ids, hashes, counts],
    ),
  );
}

/** Stores what a partner reports, in its name, once a run and slice. What it may not see is accepted and forgotten. */
export async function recordConfirm(
  db: Pick<Database | Session, "run">,
  companyId: CompanyId,
  confirm: Confirm,
): Promise<void> {
  const scope = { company: companyId };
  const holds = !confirm.test && confirm.outcome === "updated";
  await unlessRemoved(
    db.run(
      prepared(`/* recordConfirm */ WITH seen AS (SELECT s.slice_key, s.name FROM slices s WHERE s.id = $2 AND ${sliceInScope(scope, "$1")}),
         logged AS (INSERT INTO activity (company_id, run_id, slice_id, slice_name, test, outcome, message, grains_added, grains_removed, bytes, duration_ms)
           SELECT $1, $3, $2, seen.name, $4, $5, $6, $7, $8, $9, $10 FROM seen ON CONFLICT (company_id, run_id, slice_id) DO NOTHING)
       INSERT INTO holdings (company_id, slice_key, hash, content_count, confirmed_at) SELECT $1, slice_key, $11, $12, now() FROM seen WHERE $13
       ON CONFLICT (company_id, slice_key) DO UPDATE SET hash = excluded.hash, content_count = excluded.content_count, confirmed_at = excluded.confirmed_at`),
      [
        companyId,
        confirm.id,
        confirm.run_id,
        confirm.test,
        confirm.outcome,
        confirm.message.replace(/[^ -~]/g, "?").slice(0, 500),
        confirm.added,
        confirm.removed,
        confirm.bytes,
        confirm.duration_ms,
        confirm.hash,
        confirm.count,
        holds,
      ],
    ),
  );
}

/** What a partner holds of a slice that is removed meanwhile is of no interest any more. */
async function unlessRemoved(work: Promise<unknown>): Promise<void> {
  await work.catch((error: unknown) => {
    if (!refersToNothing(error)) throw error;
  });
}
