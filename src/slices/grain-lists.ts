/** Lists of (id, symbol), read from the grains that are stored. The same on both sides. */
import type { Session } from "../database/database.ts";
import { translate } from "../database/database-errors.ts";
import { type ContentKey, uuidText } from "../ids.ts";
import { digestBytes, grainSymbol, idBytes, listEntryBytes } from "./rules/hash.ts";
import { fixedTuples } from "./rules/tuples.ts";

/** Field count u16, length u32, id, length u32, digest. */
const idAt = 2 + 4;
const digestAt = idAt + idBytes + 4;
const tupleBytes = digestAt + digestBytes;

/** A page of list entries after the id `after`, ascending: `most` of them, or as many as there are. */
export async function readList(
  session: Session,
  content: ContentKey,
  after: Buffer | null,
  most: number,
): Promise<Buffer> {
  const list = new ListBuffer(most);
  for await (const piece of listPieces(session, content, after, most)) list.add(piece);
  return list.all;
}

/** A list that is put together in its place: it may be too long to be copied at once. */
export class ListBuffer {
  readonly #bytes: Buffer;
  #used = 0;

  /** @param most entries that there are. */
  constructor(most: number) {
    this.#bytes = Buffer.allocUnsafeSlow(most * listEntryBytes);
  }

  /** Adds entries; those beyond are left out. */
  add(piece: Buffer): void {
    this.#used += piece.copy(this.#bytes, this.#used);
  }

  get all(): Buffer {
    return this.#bytes.subarray(0, this.#used);
  }
}

/** The same, in pieces as they come from the database. */
export async function* listPieces(
  session: Session,
  content: ContentKey,
  after: Buffer | null = null,
  limit?: number,
): AsyncGenerator<Buffer> {
  // A COPY takes no parameters: the content key is our own number, the id is made from 16 bytes here.
  const condition = after === null ? "" : `AND id > '${uuidText(after)}'`;
  const rows = session.copyOut(
    `/* listPieces */ COPY (SELECT id, digest FROM grains WHERE content_key = ${Number(content)} ${condition} ORDER BY id ${limit === undefined ? "" : `LIMIT ${Number(limit)}`}) TO STDOUT (FORMAT binary)`,
  );
  try {
    const unit = Buffer.alloc(idBytes + digestBytes);
    for await (const bytes of fixedTuples(rows, tupleBytes)) {
      const entries = Buffer.allocUnsafe((bytes.length / tupleBytes) * listEntryBytes);
      const view = new DataView(entries.buffer, entries.byteOffset, entries.length);
      for (let start = 0, at = 0; start < bytes.length; start += tupleBytes, at += listEntryBytes) {
        // By hand, since a call for each of a million grains costs more than the copy.
        for (let i = 0; i < idBytes; i++) entries[at + i] = unit[i] = bytes[start + idAt + i]!;
        for (let i = 0; i < digestBytes; i++) unit[idBytes + i] = bytes[start + digestAt + i]!;
        view.setBigUint64(at + idBytes, grainSymbol(unit));
      }
      yield entries;
    }
  } catch (error) {
    throw translate(error); // outside of a transaction nobody else does
  }
}
