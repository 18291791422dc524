/** The Go reference's hash of a slice. It depends on the order of all ids, so that it is computed only when somebody asks for it. */
import type { Database } from "../database/database.ts";
import { idPieces } from "./grain-lists.ts";
import { ReferenceHasher } from "./rules/hash.ts";
import type { Slice } from "./rules/slice.ts";
import { readMetadata } from "./slice-store.ts";

/**
 * @param db that of the program itself: what a partner has asked for is kept for others.
 * @returns 40 lower-case hex digits, of what the slice holds now; "" for one with neither grains nor metadata.
 */
export async function referenceHash(db: Database, slice: Slice): Promise<string> {
  if (slice.referenceHash !== null) return slice.referenceHash;
  const { key } = slice;
  const { hash, reference } = await db.transaction(
    async (tx) => {
      const now = await tx.one<Pick<Slice, "hash" | "contentKey">>(
        `SELECT hash, content_key AS "contentKey" FROM slices WHERE slice_key = $1`,
        [key],
      );
      if (now === undefined) return { hash: "", reference: "" }; // it was removed meanwhile
      const hasher = new ReferenceHasher();
      for await (const ids of idPieces(tx, now.contentKey)) hasher.add(ids);
      return { hash: now.hash, reference: hasher.finish(await readMetadata(tx, key)) };
    },
    { readOnly: true, snapshot: true },
  );
  await db.run("UPDATE slices SET reference_hash = $2, reference_hash_of = $3 WHERE slice_key = $1 AND hash = $3", [
    key,
    reference,
    hash,
  ]);
  return reference;
}
