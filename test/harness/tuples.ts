/** Tuples of PostgreSQL's binary COPY format, put together and taken apart field by field: what the program itself never needs. */
import { nullLength } from "../../src/slices/tuples.ts";

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

/** A tuple of these fields. */
export function encodeTuple(fields: readonly (Uint8Array | null)[]): Buffer {
  const size = fields.reduce((sum, field) => sum + 4 + (field?.length ?? 0), 2);
  const out = Buffer.allocUnsafe(size);
  let at = out.writeUInt16BE(fields.length, 0);
  for (const field of fields) {
    at = out.writeUInt32BE(field === null ? nullLength : field.length, at);
    if (field !== null) {
      out.set(field, at);
      at += field.length;
    }
  }
  return out;
}

/** A bigint column's value. */
export function int8(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(8);
  bytes.writeBigInt64BE(BigInt(value));
  return bytes;
}

/** An integer column's value. */
export function int4(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(4);
  bytes.writeInt32BE(value);
  return bytes;
}
