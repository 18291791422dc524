/**
 * The reader of payloads in PostgreSQL. All of it is by binary COPY, which spares both ends the hexadecimal text. A COPY takes no
 * parameters: what stands in these are our own numbers, and ids made from 16 bytes.
 */
import type { Database, Session } from "../../database/database.ts";
import { translate } from "../../database/database-errors.ts";
import { prepared } from "../../database/prepared.ts";
import { SandpiperError } from "../../errors.ts";
import { type ContentKey, uuidBytes, uuidText } from "../../ids.ts";
import { idBytes } from "../rules/hash.ts";
import type { Records } from "../rules/records.ts";
import { chunkBytes } from "../rules/slice.ts";
import { copyBody, tupleEnds, tupleFields } from "../rules/tuples.ts";
import type { PayloadOf, ReadFrom } from "./payload-store.ts";

/** Bytes of records that a page comes to at most: what whoever reads can make the program hold at once. The largest record is half of it. */
const pageBytes = 2 * chunkBytes;
/** What a record takes besides its key, source and payload. */
const recordBytes = 64;
/** Most ids that are asked for at once. */
const mostIds = 5000;

export async function* get(from: ReadFrom, { contentKey, id, bytes }: PayloadOf): AsyncGenerator<Buffer> {
  const grainId = uuidBytes(id);
  let left = bytes;
  for (let sequence = 0; sequence === 0 || left > 0; sequence++) {
    const read = (session: Session) =>
      bytes <= chunkBytes ? whole(session, contentKey, grainId) : piece(session, contentKey, grainId, sequence);
    const data = await ("session" in from ? from.session(read) : read(from));
    if (data === undefined) {
      throw new SandpiperError("deferred", `grain ${id} was replaced while it was read`, { hint: "Run again." });
    }
    left -= data.length;
    yield data;
  }
}

const whole = (session: Session, content: ContentKey, grainId: Buffer): Promise<Buffer | undefined> =>
  value(
    session,
    `/* whole */ COPY (SELECT payload FROM grains WHERE content_key = ${Number(content)} AND id = '${uuidText(grainId)}') TO STDOUT (FORMAT binary)`,
  );

export const piece = (
  session: Session,
  content: ContentKey,
  grainId: Buffer,
  sequence: number,
): Promise<Buffer | undefined> =>
  value(
    session,
    `/* piece */ COPY (SELECT data FROM grain_chunks WHERE content_key = ${Number(content)} AND grain_id = '${uuidText(grainId)}' AND seq = ${Number(sequence)}) TO STDOUT (FORMAT binary)`,
  );

/** Sizes are added up in the order of the index, and payloads beyond are not touched: a mean says nothing about those that were chosen. */
export async function page(
  tx: Session,
  content: ContentKey,
  which: { after: Buffer | null } | { ids: Buffer },
  of: { count: number; bytes: number },
): Promise<Records> {
  // Only how many rows are looked at: a page that is cut short has been paid for by the size of its grains.
  const mean = recordBytes + of.bytes / Math.max(1, of.count);
  const limit = Math.ceil(pageBytes / Math.min(mean, chunkBytes));
  let condition = "";
  if ("ids" in which) {
    if (which.ids.length === 0) return { bytes: Buffer.alloc(0), ends: [] };
    condition = `AND id IN (${idList(which.ids, Math.min(limit, mostIds))})`;
  } else if (which.after !== null) condition = `AND id > '${uuidText(which.after)}'`;
  // By the index, whatever is known of the table: in one that was never analyzed, all that is left of the slice is sorted for each page.
  await tx.run("/* pageBefore */ SET LOCAL enable_sort = off");
  const body = await copied(
    tx,
    `/* page */ COPY (SELECT id, grain_key, source, encoding, payload_bytes, payload FROM (SELECT id, grain_key, source, encoding, payload_bytes, payload,
         sum(${recordBytes} + octet_length(grain_key) + octet_length(source) + coalesce(octet_length(payload), 0)) OVER (ORDER BY id ROWS UNBOUNDED PRECEDING) AS total
       FROM grains WHERE content_key = ${Number(content)} ${condition} ORDER BY id LIMIT ${limit}) page
       WHERE total <= ${pageBytes} ORDER BY id) TO STDOUT (FORMAT binary)`,
  );
  const ends = tupleEnds(body);
  return { bytes: body.subarray(0, ends.at(-1) ?? 0), ends };
}

/** The first ids, as SQL literals. */
function idList(ids: Buffer, most: number): string {
  const list: string[] = [];
  for (let at = 0; at < ids.length && list.length < most; at += idBytes)
    list.push(`'${uuidText(ids.subarray(at, at + idBytes))}'`);
  return list.join(",");
}

/** Only chunks are looked at, of which there are few. */
export async function hasOver(
  db: Pick<Session | Database, "one">,
  content: ContentKey,
  bytes: number,
): Promise<boolean> {
  const row = await db.one(prepared("SELECT 1 FROM grain_chunks WHERE content_key = $1 AND seq >= $2 LIMIT 1"), [
    content,
    Math.floor(bytes / chunkBytes),
  ]);
  return row !== undefined;
}

/** The one value that a query finds; undefined when there is none. */
async function value(session: Session, copy: string): Promise<Buffer | undefined> {
  const body = await copied(session, copy);
  return tupleEnds(body).length === 0 ? undefined : (tupleFields(body, 0)[0] ?? undefined);
}

/** The body of a COPY, whole. */
async function copied(session: Session, copy: string): Promise<Buffer> {
  const pieces: Buffer[] = [];
  try {
    for await (const piece of copyBody(session.copyOut(copy))) pieces.push(piece);
  } catch (error) {
    throw translate(error); // outside of a transaction nobody else does
  }
  return Buffer.concat(pieces);
}
