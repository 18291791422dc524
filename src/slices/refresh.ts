/** Counting a slice's figures (rules/tally.ts) again from the rows that are stored. */
import type { Session } from "../database/database.ts";
import type { ContentKey, SliceKey } from "../ids.ts";
import { markPieces } from "./grain-lists.ts";
import { type Metadata, sliceHash } from "./rules/hash.ts";
import type { Slice } from "./rules/slice.ts";
import { type Figures, Tally } from "./rules/tally.ts";
import { readMetadata } from "./slice-store.ts";

export interface SliceContent extends Figures {
  /** XXH64, 16 lower-case hex digits. */
  hash: string;
  metadata: Metadata;
}

/** Counts all grains under a content key. */
export async function countContent(session: Session, content: ContentKey): Promise<Tally> {
  const tally = new Tally();
  for await (const marks of markPieces(session, content)) tally.add(marks);
  return tally;
}

/** A slice as its rows are. @param known its metadata, if the transaction has the slice's row and has read it already. */
export async function computeContent(
  session: Session,
  key: SliceKey,
  content: ContentKey,
  known?: Metadata,
): Promise<SliceContent> {
  const figures = (await countContent(session, content)).figures();
  const metadata = known ?? (await readMetadata(session, key));
  return { ...figures, hash: sliceHash(figures, metadata), metadata };
}

/** Stores a slice's figures; `content_date` moves only when the hash does. */
export const storingContent = `UPDATE slices SET content_date = CASE WHEN hash = $2 AND content_count = $4 THEN content_date ELSE now() END,
       hash = $2, content_sum = $3, content_count = $4, content_bytes = $5, sketch = $6, updated_at = now() WHERE slice_key = $1`;

/** The values $1 to $6 of {@link storingContent}. */
export const contentValues = (key: SliceKey, content: Omit<SliceContent, "metadata">): unknown[] => [
  key,
  content.hash,
  content.sum,
  content.count,
  content.bytes,
  content.sketch,
];

/** Stores what a slice has become. */
export async function storeContent(tx: Session, key: SliceKey, content: SliceContent): Promise<void> {
  await tx.run(`/* storeContent */ ${storingContent}`, contentValues(key, content));
}

/** Recounts and stores, in the transaction of `tx`, which has the slice's row. */
export async function refreshSlice(
  tx: Session,
  { key, contentKey }: Pick<Slice, "key" | "contentKey">,
): Promise<SliceContent> {
  const content = await computeContent(tx, key, contentKey);
  await storeContent(tx, key, content);
  return content;
}
