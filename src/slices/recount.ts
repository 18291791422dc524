/** Putting right what a slice says of itself, if its rows say something else. */
import type { Database } from "../database/database.ts";
import { takeSlice } from "./change-slice.ts";
import { computeContent, type SliceContent, storeContent } from "./refresh.ts";
import type { Slice } from "./rules/slice.ts";

/** Counts a slice in one transaction. @returns what it holds, and whether it had said so. @throws as {@link takeSlice}. */
export function recount(
  db: Pick<Database, "transaction">,
  slice: Pick<Slice, "key" | "name">,
): Promise<{ content: SliceContent; wasRight: boolean }> {
  return db.transaction(async (tx) => {
    const was = await takeSlice(tx, slice);
    const content = await computeContent(tx, slice.key, was.contentKey);
    // A copy that was never synced says nothing of itself, which is right as long as it has no grains.
    if (was.hash === "" && content.count === 0) return { content: { ...content, hash: "" }, wasRight: true };
    const same = content.hash === was.hash && content.count === was.count && content.bytes === was.bytes;
    // How long a sketch is depends on what the slice has been through: as far as both go, they are the same.
    const cells = Math.min(was.sketch.length, content.sketch.length);
    const wasRight =
      same && content.sum.equals(was.sum) && content.sketch.subarray(0, cells).equals(was.sketch.subarray(0, cells));
    await storeContent(tx, slice.key, content);
    return { content, wasRight };
  });
}
