/** Lists of (id, symbol), read from the grains that are stored. The same on both sides. */
import type { Session } from "../database.ts";
import { digestBytes, grainSymbol, idBytes } from "../slices/hash.ts";
import { type SliceKey, uuidText } from "../slices/slice.ts";
import { copyTuples } from "../slices/tuples.ts";
import { listEntryBytes } from "./frames.ts";

/** A page of list entries after the id `after`, ascending; all of them without a limit. */
export async function readList(session: Session, key: SliceKey, after: Buffer | null, limit?: number): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of listPieces(session, key, after, limit)) pieces.push(piece);
  return Buffer.concat(pieces);
}

/** The same, in pieces as they come from the database. */
export async function* listPieces(
  session: Session,
  key: SliceKey,
  after: Buffer | null = null,
  limit?: number,
): AsyncGenerator<Buffer> {
  // A COPY takes no parameters: the key is our own number, the id is made from 16 bytes here.
  const condition = after === null ? "" : `AND id > '${uuidText(after)}'`;
  const rows = session.copyOut(
    `COPY (SELECT id, digest FROM grains WHERE slice_key = ${Number(key)} ${condition} ORDER BY id ${limit === undefined ? "" : `LIMIT ${Number(limit)}`}) TO STDOUT (FORMAT binary)`,
  );
  const unit = Buffer.alloc(idBytes + digestBytes);
  for await (const { bytes, ends } of copyTuples(rows)) {
    const entries = Buffer.allocUnsafe(ends.length * listEntryBytes);
    let at = 0;
    let start = 0;
    for (const end of ends) {
      // Field count u16, length u32, id, length u32, digest.
      bytes.copy(unit, 0, start + 6, start + 6 + idBytes);
      bytes.copy(unit, idBytes, start + 6 + idBytes + 4, end);
      unit.copy(entries, at, 0, idBytes);
      entries.writeBigUInt64BE(grainSymbol(unit), at + idBytes);
      at += listEntryBytes;
      start = end;
    }
    yield entries;
  }
}
