/**
 * Publishing on the primary: a slice is changed and its hash moves in one transaction, so a partner
 * sees the old set or the new one. Two publishers of one slice: one wins, the other gets `conflict`.
 */
import type { Database, Session } from "../database/database.ts";
import { asSandpiperError, SandpiperError } from "../errors.ts";
import { step } from "../step.ts";
import { refreshSlice, type SliceContent } from "./refresh.ts";
import type { Slice } from "./rules/slice.ts";

/**
 * Changes a slice in one transaction: takes its row (or fails at once if somebody else has it), lets `change` do its work,
 * and refreshes hash and count.
 *
 * @throws SandpiperError `conflict` when another publisher holds the slice, `not_found` when it was removed meanwhile.
 */
export async function changeSlice<T>(
  db: Database,
  slice: Slice,
  change: (tx: Session) => Promise<T>,
): Promise<{ result: T; content: SliceContent }> {
  const work = db.transaction(async (tx) => {
    step("l.begin");
    await takeSlice(tx, slice);
    const result = await change(tx);
    step("l.refresh");
    const content = await refreshSlice(tx, slice);
    step("l.commit");
    return { result, content };
  });
  return work.catch(async (error) => {
    // What did not fit the disk is taken off it again.
    if (asSandpiperError(error).code === "storage") await db.disk?.reclaim(true).catch(() => {});
    throw error;
  });
}

async function takeSlice(tx: Session, slice: Slice): Promise<void> {
  // Not FOR UPDATE: rows that only refer to the slice, as what partners confirm, need not wait until a long change is done.
  const taken = await tx.one(
    "/* takeSlice */ SELECT 1 FROM slices WHERE slice_key = $1 FOR NO KEY UPDATE SKIP LOCKED",
    [slice.key],
  );
  if (taken !== undefined) return;
  const there = await tx.one("/* takeSliceThere */ SELECT 1 FROM slices WHERE slice_key = $1", [slice.key]);
  if (there === undefined)
    throw new SandpiperError("not_found", `slice ${JSON.stringify(slice.name)} was removed`, { hint: "Add it again." });
  throw new SandpiperError("conflict", `slice ${JSON.stringify(slice.name)} is being changed by somebody else`, {
    hint: "Wait until that is done, then run again.",
  });
}
