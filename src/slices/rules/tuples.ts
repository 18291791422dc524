/**
 * PostgreSQL's binary COPY format (documentation of COPY, "Binary Format"), taken apart and put
 * together: a 19-byte header, tuples (field count u16, then per field a length u32 and the bytes;
 * length 0xFFFFFFFF for NULL), and a trailer of 0xFFFF.
 */
import { SandpiperError } from "../../errors.ts";

export const copyHeader = Buffer.concat([Buffer.from("PGCOPY\n\xff\r\n\0", "latin1"), Buffer.alloc(8)]);
export const copyTrailer = Buffer.from([0xff, 0xff]);
export const nullLength = 0xffffffff;

/** Where the tuple that begins at `start` ends; -1 when `bytes` does not hold it whole. */
export function tupleEnd(bytes: Buffer, start: number): number {
  if (start + 2 > bytes.length) return -1;
  const fields = bytes.readUInt16BE(start);
  let at = start + 2;
  for (let i = 0; i < fields; i++) {
    if (at + 4 > bytes.length) return -1;
    const length = bytes.readUInt32BE(at);
    at += 4 + (length === nullLength ? 0 : length);
  }
  return at <= bytes.length ? at : -1;
}

/** The fields of the tuple at `start`, as views into `bytes`; null for NULL. */
export function tupleFields(bytes: Buffer, start: number): (Buffer | null)[] {
  const fields: (Buffer | null)[] = [];
  const count = bytes.readUInt16BE(start);
  let at = start + 2;
  for (let i = 0; i < count; i++) {
    const length = bytes.readUInt32BE(at);
    at += 4;
    if (length === nullLength) {
      fields.push(null);
      continue;
    }
    fields.push(bytes.subarray(at, at + length));
    at += length;
  }
  return fields;
}

/** A COPY stream without its header: tuples and the trailer, in pieces as they come. */
export async function* copyBody(stream: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let missing = copyHeader.length;
  for await (const piece of stream) {
    const skip = Math.min(missing, piece.length);
    missing -= skip;
    if (skip < piece.length) yield piece.subarray(skip);
  }
}

/** Where the tuples end in the whole body of a COPY. @throws `storage` when it is cut short. */
export function tupleEnds(body: Buffer): number[] {
  const ends: number[] = [];
  for (let at = 0; at + 2 <= body.length; ) {
    if (body.readUInt16BE(at) === 0xffff) return ends;
    at = tupleEnd(body, at);
    if (at < 0) break;
    ends.push(at);
  }
  throw cutShort();
}

/**
 * The tuples of a COPY stream that all have `tupleBytes` bytes, back to back, as many at once as have arrived. Nothing is copied but
 * what straddles two pieces of the stream.
 *
 * @throws `storage` for any other tuple.
 */
export async function* fixedTuples(stream: AsyncIterable<Buffer>, tupleBytes: number): AsyncGenerator<Buffer> {
  const checked = (tuples: Buffer) => {
    for (let at = 0; at < tuples.length; at += tupleBytes)
      if (tupleEnd(tuples, at) !== at + tupleBytes) throw undigested();
    return tuples;
  };
  let held: Buffer = Buffer.alloc(0);
  for await (const piece of copyBody(stream)) {
    let rest = piece;
    if (held.length > 0) {
      const missing = tupleBytes - held.length;
      held = Buffer.concat([held, piece.subarray(0, missing)]);
      if (held.length < tupleBytes) continue;
      yield checked(held);
      rest = piece.subarray(missing);
    }
    const whole = rest.length - (rest.length % tupleBytes);
    if (whole > 0) yield checked(rest.subarray(0, whole));
    held = rest.subarray(whole);
  }
  if (!held.equals(copyTrailer)) throw held.length > 2 && tupleEnd(held, 0) > 0 ? undigested() : cutShort();
}

const undigested = () =>
  new SandpiperError("storage", "a grain is stored without its digest", {
    hint: "Refresh the slice at its owner; if that does not help, restore the database from a backup.",
  });

const cutShort = () =>
  new SandpiperError("storage", "the database ended a COPY in the middle", {
    hint: "Check the database's log, then run again.",
  });

/** The bytes `from` to `to` of every row, back to back: by hand, since a call for each of a million rows costs more than the copy. */
export function gather(rows: Buffer, rowBytes: number, from: number, to: number): Buffer {
  const out = Buffer.allocUnsafe((rows.length / rowBytes) * (to - from));
  let at = 0;
  for (let row = 0; row < rows.length; row += rowBytes) {
    for (let i = row + from; i < row + to; i++) out[at++] = rows[i]!;
  }
  return out;
}
