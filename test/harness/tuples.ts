/** Tuples of PostgreSQL's binary COPY format, put together field by field: what the program itself never needs. */
import { nullLength } from "../../src/slices/rules/tuples.ts";

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
