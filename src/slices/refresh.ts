/** Recomputing a slice's hash and count from the rows that are stored: the proof of every change. */
import type { Session } from "../database.ts";
import { hashUnitBytes, type Metadata, type SliceDigest, SliceHasher } from "./hash.ts";
import type { SliceKey } from "./slice.ts";
import { readMetadata } from "./slice-store.ts";
import { copyTuples } from "./tuples.ts";

export interface SliceContent extends SliceDigest {
  /** Stored payload bytes. */
  bytes: number;
  metadata: Metadata;
}

/** Reads the whole slice, in order of id, and computes its hashes, count and bytes. */
export async function computeContent(session: Session, key: SliceKey): Promise<SliceContent> {
  const hasher = new SliceHasher();
  let payloadBytes = 0;
  // A COPY takes no parameters; the key is our own number.
  const rows = session.copyOut(
    `COPY (SELECT id, digest, payload_bytes FROM grains WHERE slice_key = ${Number(key)} ORDER BY id) TO STDOUT (FORMAT binary)`,
  );
  for await (const { bytes, ends } of copyTuples(rows)) {
    const units = Buffer.allocUnsafe(ends.length * hashUnitBytes);
    let start = 0;
    for (let i = 0; i < ends.length; i++) {
      // After the field count, a tuple is exactly a hash unit, then the length and value of payload_bytes.
      bytes.copy(units, i * hashUnitBytes, start + 2, start + 2 + hashUnitBytes);
      payloadBytes += Number(bytes.readBigInt64BE(start + 2 + hashUnitBytes + 4));
      start = ends[i]!;
    }
    hasher.add(units);
  }
  const metadata = await readMetadata(session, key);
  return { ...hasher.finish(metadata), bytes: payloadBytes, metadata };
}

/** Stores a slice's content figures; `content_date` moves only when the hash does. */
export async function storeContent(tx: Session, key: SliceKey, content: SliceContent): Promise<void> {
  await tx.run(
    `UPDATE slices SET content_date = CASE WHEN hash = $2 AND content_count = $4 THEN content_date ELSE now() END,
       hash = $2, content_hash = $3, content_count = $4, content_bytes = $5, updated_at = now() WHERE slice_key = $1`,
    [key, content.hash, content.contentHash, content.count, content.bytes],
  );
}

/** Recomputes and stores, in the transaction of `tx`. */
export async function refreshSlice(tx: Session, key: SliceKey): Promise<SliceContent> {
  const content = await computeContent(tx, key);
  await storeContent(tx, key, content);
  return content;
}
