/** A grain as REST shows it. */
import type { Database } from "../../database/database.ts";
import { SandpiperError } from "../../errors.ts";
import type { GrainRow, GrainWithPayload } from "../../slices/grain-store.ts";
import { payloads } from "../../slices/payloads/payloads.ts";
import { Armour, armour } from "../../slices/rules/encoding.ts";

/** Largest payload that is shown as JSON; sync has no such limit. */
export const maxShownBytes = 16 * 1024 * 1024;
/** Bytes of a payload that are put into their armour in one go. */
const stepBytes = 64 * 1024;

export const grainJson = (grain: GrainRow) => ({
  id: grain.id,
  slice_id: grain.sliceId,
  grain_key: grain.key,
  source: grain.source,
  encoding: grain.encoding,
  payload_len: grain.bytes,
});

/**
 * The document of a grain with its payload in its text armour, in pieces: of a large one no more is in memory than a chunk.
 *
 * @throws `limit` when it is too large to be shown, `conflict` when it is no text where it should be, `deferred` when it is gone meanwhile.
 */
export async function* grainText(db: Database, grain: GrainWithPayload): AsyncGenerator<string> {
  if (grain.bytes > maxShownBytes) throw tooLargeToShow();
  const document = (payload: string) => JSON.stringify({ ...grainJson(grain), payload });
  if (grain.payload !== null) {
    yield document(armour(grain.encoding, grain.payload));
    return;
  }
  // What has begun can only be broken off: so first whether all of it can be shown.
  if (grain.encoding === "raw") for await (const _ of armoured(db, grain));
  const end = '"}';
  yield document("").slice(0, -end.length);
  for await (const text of armoured(db, grain)) yield JSON.stringify(text).slice(1, -1);
  yield end;
}

async function* armoured(db: Database, grain: GrainRow): AsyncGenerator<string> {
  const text = new Armour(grain.encoding);
  // From the database itself, not from a session: none is held while a slow client reads.
  for await (const chunk of payloads.get(db, grain)) {
    for (let at = 0; at < chunk.length; at += stepBytes) yield text.take(chunk.subarray(at, at + stepBytes));
  }
  yield text.end();
}

export const tooLargeToShow = () =>
  new SandpiperError("limit", "the payload is larger than 16 MiB, which is not shown here", {
    hint: "Get it with `sandpiper sync`.",
  });
