/** Grains in the database: reading one or a page of them, and adding and deleting inside a transaction. */
import type { Database, Session } from "../database/database.ts";
import { violatedConstraint } from "../database/database-errors.ts";
import { prepared } from "../database/prepared.ts";
import { type Scope, scopeValue, sliceInScope, slicesInScope } from "../database/scope.ts";
import { SandpiperError } from "../errors.ts";
import type { ContentKey, SliceKey } from "../ids.ts";
import { chunkBytes, type Encoding } from "./rules/slice.ts";
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

/** A grain with what a single row holds of its payload: null for one that is kept in chunks (see {@link readPayload}). */
export type GrainWithPayload = GrainRow & { payload: Buffer | null };

/**
 * Grains of a slice's content that follow the id `after` (the first ones without it), in order of id: with payloads so many that their rows
 * hold no more than 1 MiB of them, or a single one.
 */
export async function listGrainsAfter(
  db: Queries,
  scope: Scope,
  content: ContentKey,
  { after, payload }: { after?: string | undefined; payload: boolean },
): Promise<GrainWithPayload[]> {
  const grains = slicesWith(`${after === undefined ? "" : "AND id > $3"} ORDER BY id LIMIT 1000`);
  const page = `FROM ${grains} WHERE s.content_key = $2 AND ${sliceInScope(scope, "$1")}`;
  const inRow = `CASE WHEN g.payload_bytes <= ${chunkBytes} THEN g.payload_bytes ELSE 0 END`;
  return db.query(
    prepared(
      payload
        ? `SELECT "contentKey", "sliceId", id, key, source, encoding, bytes, payload FROM (
             SELECT ${columns}, g.payload, sum(${inRow}) OVER (ORDER BY g.id) AS upto ${page}) g WHERE upto <= ${chunkBytes} ORDER BY id`
        : `SELECT ${columns}, NULL AS payload ${page} ORDER BY g.id`,
    ),
    [scopeValue(scope), content, ...(after === undefined ? [] : [after])],
  );
}

/** Whether a slice has a payload of more than so many bytes, which is no less than a chunk. Only chunks are looked at, of which there are few. */
export async function hasPayloadOver(db: Queries, contentKey: ContentKey, bytes: number): Promise<boolean> {
  const row = await db.one(prepared("SELECT 1 FROM grain_chunks WHERE content_key = $1 AND seq >= $2 LIMIT 1"), [
    contentKey,
    Math.floor(bytes / chunkBytes),
  ]);
  return row !== undefined;
}

/** The grain with this id. Ids are unique within a slice only: of several, the one of the first slice by name. */
export async function findGrain(db: Queries, scope: Scope, id: string): Promise<GrainWithPayload | undefined> {
  return db.one<GrainWithPayload>(
    // Asked of one slice after another: there is no index by the id alone, which every grain would pay for.
    prepared(`SELECT ${columns}, g.payload FROM ${slicesWith("AND id = $2::uuid OFFSET 0")}
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
    prepared(`SELECT ${columns}, g.payload FROM ${slicesWith("AND grain_key = $3")}
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

/** A grain's stored payload, in pieces of at most 1 MiB, so that the largest is never in memory whole. @throws `deferred` when it is gone. */
export async function* readPayload(
  session: Pick<Queries, "one">,
  grain: Pick<GrainRow, "contentKey" | "id" | "bytes">,
): AsyncGenerator<Buffer> {
  if (grain.bytes <= chunkBytes) {
    const row = await session.one<{ payload: Buffer }>(
      "SELECT payload FROM grains WHERE content_key = $1 AND id = $2",
      [grain.contentKey, grain.id],
    );
    if (row === undefined) throw gone(grain.id);
    yield row.payload;
    return;
  }
  for (let seq = 0, left = grain.bytes; left > 0; seq++) {
    const row = await session.one<{ data: Buffer }>(
      prepared("SELECT data FROM grain_chunks WHERE content_key = $1 AND grain_id = $2 AND seq = $3"),
      [grain.contentKey, grain.id, seq],
    );
    if (row === undefined) throw gone(grain.id);
    left -= row.data.length;
    yield row.data;
  }
}

const gone = (id: string) =>
  new SandpiperError("deferred", `grain ${id} was replaced while it was read`, { hint: "Run again." });

/** Deletes these grains of a slice, with their chunks. Returns how many there were. */
export async function deleteGrains(tx: Session, content: ContentKey, ids: readonly string[]): Promise<number> {
  return tx.run(
    `WITH chunks AS (DELETE FROM grain_chunks WHERE content_key = $1 AND grain_id = ANY ($2::uuid[]))
     DELETE FROM grains WHERE content_key = $1 AND id = ANY ($2::uuid[])`,
    [content, ids],
  );
}

/** Deletes all grains of a slice, with their chunks. Returns how many there were. */
export async function clearGrains(tx: Session, content: ContentKey): Promise<number> {
  return tx.run(
    "WITH chunks AS (DELETE FROM grain_chunks WHERE content_key = $1) DELETE FROM grains WHERE content_key = $1",
    [content],
  );
}

/** A grain to add, whose payload fits one row. */
export interface SmallGrain {
  id: string;
  key: string;
  source: string;
  encoding: Encoding;
  payload: Buffer;
}

/** Adds grains whose payloads are at most 1 MiB each, with digests computed from what is stored. @throws `conflict` for a taken id or key. */
export async function insertGrains(tx: Session, content: ContentKey, grains: readonly SmallGrain[]): Promise<void> {
  await explainConflict(
    tx.run(
      prepared(`INSERT INTO grains (content_key, id, grain_key, source, encoding, payload_bytes, payload)
       SELECT $1::bigint, id, grain_key, source, encoding, octet_length(payload), payload
       FROM unnest($2::uuid[], $3::text[], $4::text[], $5::text[], $6::bytea[]) AS u (id, grain_key, source, encoding, payload)`),
      [
        content,
        grains.map((g) => g.id),
        grains.map((g) => g.key),
        grains.map((g) => g.source),
        grains.map((g) => g.encoding),
        grains.map((g) => g.payload),
      ],
    ),
  );
}

/** Adds a grain of any size from its stored bytes. @returns the number of bytes. @throws `limit` beyond `maxBytes`, `conflict` for a taken id or key. */
export async function insertLargeGrain(
  tx: Session,
  content: ContentKey,
  grain: Omit<SmallGrain, "payload">,
  payload: AsyncIterable<Buffer>,
  maxBytes: number,
): Promise<number> {
  let bytes = 0;
  let seq = 0;
  let first: Buffer | undefined;
  const put = (data: Buffer) =>
    tx.run("INSERT INTO grain_chunks (content_key, grain_id, seq, data) VALUES ($1, $2, $3, $4)", [
      content,
      grain.id,
      seq++,
      data,
    ]);
  for await (const chunk of inChunks(payload)) {
    bytes += chunk.length;
    if (bytes > maxBytes) {
      throw new SandpiperError("limit", `the payload is larger than ${maxBytes} bytes`, {
        hint: "Raise limits.max_grain_bytes on both sides, or split it.",
      });
    }
    if (seq === 0 && first === undefined) first = chunk;
    else {
      if (first !== undefined && seq === 0) await put(first);
      await put(chunk);
    }
  }
  if (seq === 0) {
    await insertGrains(tx, content, [{ ...grain, payload: first ?? Buffer.alloc(0) }]);
    return bytes;
  }
  await explainConflict(
    tx.run(
      "INSERT INTO grains (content_key, id, grain_key, source, encoding, payload_bytes) VALUES ($1, $2, $3, $4, $5, $6)",
      [content, grain.id, grain.key, grain.source, grain.encoding, bytes],
    ),
  );
  await digestChunks(tx, content);
  return bytes;
}

/** Lets grains in chunks have their digests, once all their chunks are stored: those of the others are computed with the row. */
export async function digestChunks(tx: Session, content: ContentKey): Promise<void> {
  await tx.run(
    `UPDATE grains g SET chunk_digests = (SELECT string_agg(sha256(c.data), ''::bytea ORDER BY c.seq) FROM grain_chunks c
       WHERE c.content_key = g.content_key AND c.grain_id = g.id) WHERE g.content_key = $1 AND g.digest IS NULL`,
    [content],
  );
}

/** Files grains, with their chunks, under another content. @throws `conflict` for an id or key that is taken there. */
export async function moveGrains(tx: Session, from: ContentKey, to: ContentKey): Promise<void> {
  await tx.run("UPDATE grain_chunks SET content_key = $2 WHERE content_key = $1", [from, to]);
  await explainConflict(tx.run("UPDATE grains SET content_key = $2 WHERE content_key = $1", [from, to]));
}

async function explainConflict<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    const constraint = violatedConstraint(error);
    if (constraint === undefined) throw error;
    const what = constraint === "grains_key" ? "key" : "id";
    throw new SandpiperError("conflict", `the slice has a grain with that ${what} already`, {
      cause: error,
      hint: "Delete the old grain in the same batch, before the add.",
    });
  }
}

/** The same bytes in pieces of exactly 1 MiB, but for the last. */
export async function* inChunks(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let held: Buffer[] = [];
  let size = 0;
  for await (let piece of source) {
    while (size + piece.length >= chunkBytes) {
      const take = chunkBytes - size;
      yield Buffer.concat([...held, piece.subarray(0, take)], chunkBytes);
      held = [];
      size = 0;
      piece = piece.subarray(take);
    }
    if (piece.length > 0) {
      held.push(piece);
      size += piece.length;
    }
  }
  if (size > 0) yield Buffer.concat(held, size);
}
