/** Grain records: tuples of six fields, as they go over the wire and into the database (PROTOCOL.md, "grains"). Pure. */
import { uuidText } from "../../ids.ts";
import type { Encoding } from "./slice.ts";
import { tupleEnd, tupleFields } from "./tuples.ts";

export interface UnpackedGrain {
  id: string;
  key: string;
  source: string;
  encoding: Encoding;
  bytes: number;
  /** Null when it is over 1 MiB. */
  payload: Buffer | null;
}

/** Whole, checked records taken apart; payloads are views into them. */
export function* unpackRecords(records: Buffer): Generator<UnpackedGrain> {
  for (let at = 0; at < records.length; at = tupleEnd(records, at)) {
    const [id, key, source, encoding, bytes, payload] = tupleFields(records, at);
    yield {
      id: uuidText(id!),
      key: key!.toString(),
      source: source!.toString(),
      encoding: encoding!.toString() as Encoding,
      bytes: Number(bytes!.readBigInt64BE()),
      payload: payload!,
    };
  }
}
