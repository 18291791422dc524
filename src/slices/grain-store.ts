/** Grains in the database: reading one or a page of them. Their payloads are had, and grains are changed, through payloads/. */
import type { Database, Session } from "../database/database.ts";
import { prepared } from "../database/prepared.ts";
import { type Scope, scopeValue, sliceInScope, slicesInScope } from "../database/scope.ts";
import { type ContentKey, type SliceKey, uuidBytes } from "../ids.ts";
import { payloads } from "./payloads/payloads.ts";
import { payloadInRow } from "./payloads/sql-parts.ts";
import { unpackRecords } from "./rules/records.ts";
import type { Encoding, Slice } from "./rules/slice.ts";
import type { Page } from "./slice-store.ts";

type Queries = Pick<Session | Database, "query" | "one" | "run">;

/** A grain without its payload. */
export interface GrainRow {
  contentKey: ContentKey;
  sliceId: string;
  id: string;
  key: string;
  source: string;
  encoding: Encoding;
  /** Stored bytes of the payload. */
  bytes: number;
}

/** A grain with its payload, if that comes with its row; null when it must be asked for. */
export type GrainWithPayload = GrainRow & { payload: Buffer | null };

const columns = `g.content_key AS "contentKey", s.id AS "sliceId", g.id, g.grain_key AS key, g.source, g.encoding, g.payload_bytes AS bytes`;

/**
 * `slices s` with some grains of each, which the index has in the order of their ids: no more of them are read than are asked for. (In
 * a join of the two, all grains of a slice would be sorted for each page.)
 */
const slicesWith = (grains: string) =>
  `slices s CROSS JOIN LATERAL (SELECT * FROM grains WHERE content_key = s.content_key ${grains}) g`;

/** A page of a slice's grains in order of id; all of them without one. */
export async function listGrains(db: Queries, scope: Scope, sliceKey: SliceKey, page?: Page): Promise<GrainRow[]> {
  return db.query<GrainRow>(
    prepared(`SELECT ${columns} FROM ${slicesWith("ORDER BY id LIMIT $3 OFFSET $4")}
     WHERE s.slice_key = $2 AND ${sliceInScope(scope, "$1")} ORDER BY g.id`),
    [scopeValue(scope), sliceKey, page?.limit ?? null, page?.offset ?? 0],
  );
}

/** Grains of a slice's content that follow the id `after` (the first ones without it), in order of id, without their payloads: a thousand at most. Pages are not of one moment: whoever reads several looks at the slice's hash afterwards. */
export async function listGrainsAfter(
  db: Queries,
  scope: Scope,
  content: ContentKey,
  after?: string,
): Promise<GrainWithPayload[]> {
  const grains = slicesWith(`${after === undefined ? "" : "AND id > $3"} ORDER BY id LIMIT 1000`);
  return db.query<GrainWithPayload>(
    prepared(
      `SELECT ${columns}, NULL AS payload FROM ${grains} WHERE s.content_key = $2 AND ${sliceInScope(scope, "$1")} ORDER BY g.id`,
    ),
    [scopeValue(scope), content, ...(after === undefined ? [] : [after])],
  );
}

/** The same with those payloads that have at most 1 MiB: so many grains that they make no more than 2 MiB, or a single one. */
export async function readGrainsAfter(
  db: Database,
  scope: Scope,
  slice: Pick<Slice, "id" | "contentKey" | "count" | "bytes">,
  after?: string,
): Promise<GrainWithPayload[]> {
  const { contentKey, id: sliceId } = slice;
  return db.transaction(
    async (tx) => {
      const seen = await tx.one(
        prepared(`SELECT 1 FROM slices s WHERE s.content_key = $2 AND ${sliceInScope(scope, "$1")}`),
        [scopeValue(scope), contentKey],
      );
      if (seen === undefined) return [];
      const which = { after: after === undefined ? null : uuidBytes(after) };
      const { bytes } = await payloads.page(tx, contentKey, which, slice);
      return unpackRecords(bytes).map((grain) => Object.assign(grain, { contentKey, sliceId }));
    },
    { readOnly: true, snapshot: true },
  );
}

/** The grain with this id. Ids are unique within a slice only: of several, the one of the first slice by name. */
export async function findGrain(db: Queries, scope: Scope, id: string): Promise<GrainWithPayload | undefined> {
  return db.one<GrainWithPayload>(
    // Asked of one slice after another: there is no index by the id alone, which every grain would pay for.
    prepared(`SELECT ${columns}, ${payloadInRow} AS payload FROM ${slicesWith("AND id = $2::uuid OFFSET 0")}
     WHERE ${slicesInScope(scope, "$1")} ORDER BY s.name_key LIMIT 1`),
    [scopeValue(scope), id],
  );
}

/** The grain with this key in the slice with this id; one of each slice, where several companies have slices with it. */
export async function findGrainsByKey(
  db: Queries,
  scope: Scope,
  sliceId: string,
  key: string,
): Promise<GrainWithPayload[]> {
  return db.query<GrainWithPayload>(
    prepared(`SELECT ${columns}, ${payloadInRow} AS payload FROM ${slicesWith("AND grain_key = $3")}
     WHERE s.id = $2::uuid AND ${sliceInScope(scope, "$1")}`),
    [scopeValue(scope), sliceId, key],
  );
}

/** The grain with this key in a slice. */
export async function findGrainByKey(
  db: Queries,
  scope: Scope,
  sliceKey: SliceKey,
  key: string,
): Promise<GrainRow | undefined> {
  return db.one<GrainRow>(
    `SELECT ${columns} FROM grains g JOIN slices s USING (content_key) WHERE s.slice_key = $2 AND g.grain_key = $3 AND ${sliceInScope(scope, "$1")}`,
    [scopeValue(scope), sliceKey, key],
  );
}

/** The ids of those grains under a content key that have these keys; by key. */
export async function findIdsByKey(
  tx: Queries,
  content: ContentKey,
  keys: readonly string[],
): Promise<Map<string, string>> {
  const rows = await tx.query<{ id: string; key: string }>(
    "SELECT id, grain_key AS key FROM grains WHERE content_key = $1 AND grain_key = ANY ($2::text[])",
    [content, keys],
  );
  return new Map(rows.map(({ id, key }) => [key, id]));
}

/** The digests, in hex, of those of these grains that are under a content key; by id. */
export async function readDigests(
  tx: Queries,
  content: ContentKey,
  ids: readonly string[],
): Promise<Map<string, string>> {
  const rows = await tx.query<{ id: string; digest: string }>(
    "SELECT id, encode(digest, 'hex') AS digest FROM grains WHERE content_key = $1 AND id = ANY ($2::uuid[])",
    [content, ids],
  );
  return new Map(rows.map(({ id, digest }) => [id, digest]));
}
