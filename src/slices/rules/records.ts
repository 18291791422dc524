/** Grain records: tuples of six fields, as they go over the wire and into the database (PROTOCOL.md, "grains"). Pure. */
import { uuidText } from "../../ids.ts";
import { idBytes } from "./hash.ts";
import type { Encoding } from "./slice.ts";
import { nullLength } from "./tuples.ts";

/** Grain records, whole, back to back; `ends` are their ends in `bytes`. */
export interface Records {
  bytes: Buffer;
  ends: number[];
}

/** The id of the last of these records, a copy; null when there is none. */
export function lastIdOf({ bytes, ends }: Records): Buffer | null {
  if (ends.length === 0) return null;
  // A record's id stands behind the field count and the id's length.
  const at = (ends.at(-2) ?? 0) + 2 + 4;
  return Buffer.from(bytes.subarray(at, at + idBytes));
}

export interface UnpackedGrain {
  id: string;
  key: string;
  source: string;
  encoding: Encoding;
  bytes: number;
  /** Null when it is over 1 MiB. */
  payload: Buffer | null;
}

/** Whole, checked records taken apart; payloads are views into them. By hand, since a slice may have millions. */
export function unpackRecords(records: Buffer): UnpackedGrain[] {
  const grains: UnpackedGrain[] = [];
  for (let at = 0; at < records.length; ) {
    const key = at + 2 + 4 + 16 + 4;
    const source = key + records.readUInt32BE(key - 4) + 4;
    const encoding = source + records.readUInt32BE(source - 4) + 4;
    const bytes = encoding + records.readUInt32BE(encoding - 4) + 4;
    const payload = bytes + 8 + 4;
    const length = records.readUInt32BE(payload - 4);
    const end = payload + (length === nullLength ? 0 : length);
    grains.push({
      id: uuidText(records.subarray(at + 6, at + 22)),
      key: records.toString("utf8", key, source - 4),
      source: records.toString("utf8", source, encoding - 4),
      encoding: records.toString("latin1", encoding, bytes - 4) as Encoding,
      bytes: records.readUInt32BE(bytes) * 2 ** 32 + records.readUInt32BE(bytes + 4),
      payload: length === nullLength ? null : records.subarray(payload, end),
    });
    at = end;
  }
  return grains;
}
