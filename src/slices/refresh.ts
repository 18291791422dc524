/** Recomputing a slice's hash and count from the rows that are stored: the proof of every change. */
import type { Session } from "../database/database.ts";
import type { ContentKey, SliceKey } from "../ids.ts";
import { hashUnitBytes, type Metadata, type SliceDigest, SliceHasher } from "./rules/hash.ts";
import type { Slice } from "./rules/slice.ts";
import { fixedTuples, gather } from "./rules/tuples.ts";
import { readMetadata } from "./slice-store.ts";

export interface SliceContent extends SliceDigest {
  /** Stored payload bytes. */
  bytes: number;
  metadata: Metadata;
}

/** After the field count, a tuple is exactly a hash unit, then the length and value of payload_bytes. */
const tupleBytes = 2 + hashUnitBytes + 4 + 8;

/**
 * Reads a slice with the grains of `contentKey`, in order of id, and computes its hashes, count and bytes.
 *
 * @param known its metadata, if the transaction has the slice's row and has read it already.
 */
export async function computeContent(
  session: Session,
  key: SliceKey,
  contentKey: ContentKey,
  known?: Metadata,
): Promise<SliceContent> {
  const hasher = new SliceHasher();
  let payloadBytes = 0;
  // A COPY takes no parameters; the key is our own number.
  const rows = session.copyOut(
    `/* computeContent */ COPY (SELECT id, digest, payload_bytes FROM grains WHERE content_key = ${Number(contentKey)} ORDER BY id) TO STDOUT (FORMAT binary)`,
  );
  for await (const bytes of fixedTuples(rows, tupleBytes)) {
    hasher.add(gather(bytes, tupleBytes, 2, 2 + hashUnitBytes));
    for (let end = tupleBytes; end <= bytes.length; end += tupleBytes)
      payloadBytes += bytes.readUInt32BE(end - 8) * 2 ** 32 + bytes.readUInt32BE(end - 4);
  }
  const metadata = known ?? (await readMetadata(session, key));
  return { ...hasher.finish(metadata), bytes: payloadBytes, metadata };
}

/** Stores a slice's content figures; `content_date` moves only when the hash does. */
export const storingContent = `UPDATE slices SET content_date = CASE WHEN hash = $2 AND content_count = $4 THEN content_date ELSE now() END,
       hash = $2, content_hash = $3, content_count = $4, content_bytes = $5, updated_at = now() WHERE slice_key = $1`;

/** The values $1 to $5 of {@link storingContent}. */
export const contentValues = (key: SliceKey, content: SliceContent): unknown[] => [
  key,
  content.hash,
  content.contentHash,
  content.count,
  content.bytes,
];

/** Recomputes and stores, in the transaction of `tx`. */
export async function refreshSlice(
  tx: Session,
  { key, contentKey }: Pick<Slice, "key" | "contentKey">,
): Promise<SliceContent> {
  const content = await computeContent(tx, key, contentKey);
  await tx.run(`/* refreshSlice */ ${storingContent}`, contentValues(key, content));
  return content;
}
