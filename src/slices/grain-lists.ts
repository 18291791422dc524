/** Lists of grains, read from the rows that are stored: of (id, check), of ids, of marks. The same on both sides. */
import type { Session } from "../database/database.ts";
import { translate } from "../database/database-errors.ts";
import { type ContentKey, uuidText } from "../ids.ts";
import { digestBytes, idBytes, listEntryBytes, xxh64 } from "./rules/hash.ts";
import { markBytes } from "./rules/tally.ts";
import { fixedTuples, gather } from "./rules/tuples.ts";

/** Field count u16, length u32, id. */
const idAt = 2 + 4;
/** Then length u32, digest. */
const digestAt = idAt + idBytes + 4;
/** Then length u32, payload_bytes. */
const bytesAt = digestAt + digestBytes + 4;

/** A page of list entries after the id `after`, ascending: `most` of them, or as many as there are. */
export async function readList(
  session: Session,
  content: ContentKey,
  after: Buffer | null,
  most: number,
): Promise<Buffer> {
  const list = Buffer.allocUnsafeSlow(most * listEntryBytes); // in its place: it may be too long to be copied at once
  let used = 0;
  for await (const piece of listPieces(session, content, after, most)) used += piece.copy(list, used);
  return list.subarray(0, used);
}

async function* listPieces(
  session: Session,
  content: ContentKey,
  after: Buffer | null,
  limit: number,
): AsyncGenerator<Buffer> {
  // A COPY takes no parameters: the content key is our own number, the id is made from 16 bytes here.
  const condition = after === null ? "" : `AND id > '${uuidText(after)}'`;
  const rows = tuples(
    session,
    `/* listPieces */ COPY (SELECT id, digest FROM grains WHERE content_key = ${Number(content)} ${condition} ORDER BY id LIMIT ${Number(limit)}) TO STDOUT (FORMAT binary)`,
    digestAt + digestBytes,
  );
  const size = digestAt + digestBytes;
  const digest = Buffer.alloc(digestBytes);
  for await (const bytes of rows) {
    const entries = Buffer.allocUnsafe((bytes.length / size) * listEntryBytes);
    const view = new DataView(entries.buffer, entries.byteOffset, entries.length);
    for (let start = 0, at = 0; start < bytes.length; start += size, at += listEntryBytes) {
      // By hand, since a call for each of a million grains costs more than the copy.
      for (let i = 0; i < idBytes; i++) entries[at + i] = bytes[start + idAt + i]!;
      for (let i = 0; i < digestBytes; i++) digest[i] = bytes[start + digestAt + i]!;
      view.setBigUint64(at + idBytes, xxh64(digest));
    }
    yield entries;
  }
}

/** The ids of a content's grains, back to back, ascending, in pieces as they come from the database. */
export async function* idPieces(session: Session, content: ContentKey): AsyncGenerator<Buffer> {
  const size = idAt + idBytes;
  const rows = tuples(
    session,
    `/* idPieces */ COPY (SELECT id FROM grains WHERE content_key = ${Number(content)} ORDER BY id) TO STDOUT (FORMAT binary)`,
    size,
  );
  for await (const bytes of rows) yield gather(bytes, size, idAt, size);
}

/** The marks (tally.ts) of a content's grains, in pieces as they come from the database. */
export async function* markPieces(session: Session, content: ContentKey): AsyncGenerator<Buffer> {
  const size = bytesAt + 8;
  const rows = tuples(
    session,
    `/* markPieces */ COPY (SELECT id, digest, payload_bytes FROM grains WHERE content_key = ${Number(content)} ORDER BY id) TO STDOUT (FORMAT binary)`,
    size,
  );
  for await (const bytes of rows) {
    const marks = Buffer.allocUnsafe((bytes.length / size) * markBytes);
    for (let start = 0, at = 0; start < bytes.length; start += size, at += markBytes) {
      for (let i = 0; i < idBytes; i++) marks[at + i] = bytes[start + idAt + i]!;
      for (let i = 0; i < digestBytes; i++) marks[at + idBytes + i] = bytes[start + digestAt + i]!;
      for (let i = 0; i < 8; i++) marks[at + idBytes + digestBytes + i] = bytes[start + bytesAt + i]!;
    }
    yield marks;
  }
}

/** The tuples of a COPY, each `size` bytes. */
async function* tuples(session: Session, copy: string, size: number): AsyncGenerator<Buffer> {
  try {
    yield* fixedTuples(session.copyOut(copy), size);
  } catch (error) {
    throw translate(error); // outside of a transaction nobody else does
  }
}
