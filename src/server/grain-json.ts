/** A grain as REST shows it. */
import type { Database } from "../database.ts";
import { SandpiperError } from "../errors.ts";
import { armour } from "../slices/encoding.ts";
import { type GrainRow, readPayload } from "../slices/grain-store.ts";
import { LongText } from "./json-text.ts";

/** Largest payload that is shown as JSON; sync has no such limit. */
export const maxShownBytes = 16 * 1024 * 1024;

export const grainJson = (grain: GrainRow) => ({
  id: grain.id,
  slice_id: grain.sliceId,
  grain_key: grain.key,
  source: grain.source,
  encoding: grain.encoding,
  payload_len: grain.bytes,
});

/** With the payload in its text armour. @throws `limit` when it is too large for that. */
export async function grainWithPayload(db: Database, grain: GrainRow) {
  if (grain.bytes > maxShownBytes) throw tooLargeToShow();
  const pieces = await db.session(async (session) => {
    const read: Buffer[] = [];
    for await (const piece of readPayload(session, grain)) read.push(piece);
    return read;
  });
  return { ...grainJson(grain), payload: new LongText(armour(grain.encoding, Buffer.concat(pieces))) };
}

export const tooLargeToShow = () =>
  new SandpiperError("limit", "the payload is larger than 16 MiB, which is not shown here", {
    hint: "Get it with `sandpiper sync`.",
  });
