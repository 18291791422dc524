/** Payloads in PostgreSQL: up to 1 MiB in the grain's row (`grains.payload`), larger ones as rows of 1 MiB (`grain_chunks`). */
import { once } from "node:events";
import type { Session } from "../../database/database.ts";
import { violatedConstraint } from "../../database/database-errors.ts";
import { prepared } from "../../database/prepared.ts";
import { SandpiperError } from "../../errors.ts";
import { type ContentKey, uuidBytes } from "../../ids.ts";
import { copyHeader, copyTrailer } from "../rules/tuples.ts";
import { inChunks } from "./chunks.ts";
import type { Arrived, PayloadOf, PayloadStore, SmallGrain } from "./payload-store.ts";
import { get, hasOver, page, piece } from "./postgres-reader.ts";

/** The marks of the rows that a part of a statement names `marked`, in order of id: from what is stored, in one value. */
const marks = `SELECT coalesce(string_agg(uuid_send(id) || digest || int8send(payload_bytes), ''::bytea ORDER BY id), ''::bytea) AS marks FROM marked`;
const marked = "RETURNING id, digest, payload_bytes";

async function put(tx: Session, content: ContentKey, grains: readonly SmallGrain[]): Promise<Buffer> {
  const row = await explainConflict(
    tx.one<{ marks: Buffer }>(
      prepared(`/* put */ WITH marked AS (INSERT INTO grains (content_key, id, grain_key, source, encoding, payload_bytes, payload)
       SELECT $1::bigint, id, grain_key, source, encoding, octet_length(payload), payload
       FROM unnest($2::uuid[], $3::text[], $4::text[], $5::text[], $6::bytea[]) AS u (id, grain_key, source, encoding, payload) ${marked}) ${marks}`),
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
  return row!.marks;
}

async function putStream(
  tx: Session,
  content: ContentKey,
  grain: Omit<SmallGrain, "payload">,
  payload: AsyncIterable<Buffer>,
  maxBytes: number,
): Promise<Buffer> {
  let bytes = 0;
  let sequence = 0;
  let first: Buffer | undefined;
  const next = (data: Buffer) => putPiece(tx, content, grain.id, sequence++, data);
  for await (const chunk of inChunks(payload)) {
    bytes += chunk.length;
    if (bytes > maxBytes) {
      throw new SandpiperError("limit", `the payload is larger than ${maxBytes} bytes`, {
        hint: "Raise limits.max_grain_bytes on both sides, or split it.",
      });
    }
    if (sequence === 0 && first === undefined) first = chunk;
    else {
      if (first !== undefined && sequence === 0) await next(first);
      await next(chunk);
    }
  }
  if (sequence === 0) return put(tx, content, [{ ...grain, payload: first ?? Buffer.alloc(0) }]);
  await explainConflict(
    tx.run(
      "/* putStream */ INSERT INTO grains (content_key, id, grain_key, source, encoding, payload_bytes) VALUES ($1, $2, $3, $4, $5, $6)",
      [content, grain.id, grain.key, grain.source, grain.encoding, bytes],
    ),
  );
  await digest(tx, content);
  const row = await tx.one<{ marks: Buffer }>(
    `/* putStreamMark */ WITH marked AS (SELECT id, digest, payload_bytes FROM grains WHERE content_key = $1 AND id = $2) ${marks}`,
    [content, grain.id],
  );
  return row!.marks;
}

async function putRecords(session: Session, records: readonly Buffer[]): Promise<void> {
  // Into the partition: COPY is refused on a table with row-level security (0003-row-security.sql).
  const stream = session.copyIn(
    "/* putRecords */ COPY grain_rows (id, grain_key, source, encoding, payload_bytes, payload) FROM STDIN (FORMAT binary)",
  );
  const done = once(stream, "finish");
  done.catch(() => {});
  stream.on("error", () => {}); // it is told by `done`; later ones have nobody to tell
  for (const bytes of [copyHeader, ...records])
    if (!stream.write(bytes)) await Promise.race([once(stream, "drain"), done]);
  stream.end(copyTrailer);
  await done;
}

async function putPiece(
  session: Session,
  content: ContentKey,
  grainId: string,
  sequence: number,
  data: Buffer,
): Promise<void> {
  await session.run(
    "/* putPiece */ INSERT INTO grain_chunks (content_key, grain_id, seq, data) VALUES ($1, $2, $3, $4)",
    [content, grainId, sequence, data],
  );
}

async function arrived(tx: Session, content: ContentKey): Promise<Arrived> {
  const row = await tx.one<{ grains: number; bytes: number }>(
    "/* arrived */ SELECT count(*) AS grains, coalesce(sum(payload_bytes), 0)::bigint AS bytes FROM grains WHERE content_key = $1",
    [content],
  );
  const last = await tx.one<{ id: string; bytes: number; inline: boolean }>(
    `/* arrivedLast */ SELECT id, payload_bytes AS bytes, payload IS NOT NULL AS inline FROM grains WHERE content_key = $1 ORDER BY id DESC LIMIT 1`,
    [content],
  );
  const soFar = { grains: row!.grains, bytes: row!.bytes };
  if (last === undefined) return { ...soFar, after: null, large: null };
  const after = uuidBytes(last.id);
  if (last.inline) return { ...soFar, after, large: null };
  const chunks = await tx.one<{ sequence: number; bytes: number }>(
    `/* arrivedChunks */ SELECT count(*) AS sequence, coalesce(sum(octet_length(data)), 0)::bigint AS bytes FROM grain_chunks WHERE content_key = $1 AND grain_id = $2`,
    [content, last.id],
  );
  const left = last.bytes - chunks!.bytes;
  return { ...soFar, after, large: left === 0 ? null : { left, sequence: chunks!.sequence } };
}

async function remove(tx: Session, content: ContentKey, ids: readonly string[]): Promise<Buffer> {
  const row = await tx.one<{ marks: Buffer }>(
    `/* remove */ WITH chunks AS (DELETE FROM grain_chunks WHERE content_key = $1 AND grain_id = ANY ($2::uuid[])),
       marked AS (DELETE FROM grains WHERE content_key = $1 AND id = ANY ($2::uuid[]) ${marked}) ${marks}`,
    [content, ids],
  );
  return row!.marks;
}

const clear = (tx: Session, content: ContentKey): Promise<number> =>
  tx.run(
    "/* clear */ WITH chunks AS (DELETE FROM grain_chunks WHERE content_key = $1) DELETE FROM grains WHERE content_key = $1",
    [content],
  );

async function move(tx: Session, from: ContentKey, to: ContentKey): Promise<void> {
  await tx.run("/* moveChunks */ UPDATE grain_chunks SET content_key = $2 WHERE content_key = $1", [from, to]);
  await explainConflict(tx.run("/* move */ UPDATE grains SET content_key = $2 WHERE content_key = $1", [from, to]));
}

const chunkDigests =
  "(SELECT string_agg(sha256(c.data), ''::bytea ORDER BY c.seq) FROM grain_chunks c WHERE c.content_key = g.content_key AND c.grain_id = g.id)";

/** The database computes a digest with the row, from its payload or from the digests of its chunks (0013-tallies.sql). */
async function digest(tx: Session, content: ContentKey): Promise<void> {
  await tx.run(
    `/* digest */ UPDATE grains g SET chunk_digests = ${chunkDigests} WHERE g.content_key = $1 AND g.digest IS NULL`,
    [content],
  );
}

/** A text as it stands in what a digest is computed from: its length, and its bytes. */
const digested = (column: string) => `int4send(octet_length(g.${column})) || convert_to(g.${column}, 'UTF8')`;
/** What `grains.digest` is computed from (0013-tallies.sql, PROTOCOL.md "Digest of a grain"), with chunks as they are now. */
const recomputed = `sha256(uuid_send(g.id) || ${["grain_key", "source", "encoding"].map(digested).join(" || ")} || int8send(g.payload_bytes) || coalesce(g.payload, ${chunkDigests}))`;

async function isIntact(session: Session, { contentKey, id }: PayloadOf): Promise<boolean> {
  const row = await session.one<{ intact: boolean }>(
    `SELECT g.digest = ${recomputed} AS intact FROM grains g WHERE g.content_key = $1 AND g.id = $2`,
    [contentKey, id],
  );
  return row?.intact === true;
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

export const postgresPayloads: PayloadStore = {
  get,
  piece,
  page,
  hasOver,
  put,
  putStream,
  putRecords,
  putPiece,
  arrived,
  delete: remove,
  clear,
  move,
  digest,
  isIntact,
};
