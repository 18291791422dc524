/**
 * Publishing on the primary: a slice is changed and its hash moves in one transaction, so a partner
 * sees the old set or the new one. Two publishers of one slice: one wins, the other gets `conflict`.
 */
import type { Database, Session } from "../database/database.ts";
import { asSandpiperError, SandpiperError } from "../errors.ts";
import { step } from "../step.ts";
import { type SliceContent, storeContent } from "./refresh.ts";
import type { Slice } from "./rules/slice.ts";
import type { Figures } from "./rules/tally.ts";
import { figureColumns, SliceEdit } from "./slice-edit.ts";

/**
 * Changes a slice in one transaction: takes its row (or fails at once if somebody else has it), lets `change` do its work,
 * and stores what the slice has become. It costs what is changed, not what the slice holds.
 *
 * @throws SandpiperError `conflict` when another publisher holds the slice, `not_found` when it was removed meanwhile.
 */
export async function changeSlice<T>(
  db: Database,
  slice: Pick<Slice, "key" | "name">,
  change: (edit: SliceEdit) => Promise<T>,
): Promise<{ result: T; content: SliceContent }> {
  const work = db.transaction(async (tx) => {
    step("l.begin");
    const { contentKey, ...figures } = await takeSlice(tx, slice);
    const edit = new SliceEdit(tx, { key: slice.key, contentKey }, figures);
    const result = await change(edit);
    step("l.refresh");
    const content = await edit.finish();
    await storeContent(tx, slice.key, content);
    step("l.commit");
    return { result, content };
  });
  return work.catch(async (error) => {
    // What did not fit the disk is taken off it again.
    if (asSandpiperError(error).code === "storage") await db.disk?.reclaim(true).catch(() => {});
    throw error;
  });
}

/** Takes the slice's row, until the end of the transaction. @returns what it has. @throws as {@link changeSlice}. */
export async function takeSlice(
  tx: Session,
  slice: Pick<Slice, "key" | "name">,
): Promise<Figures & { contentKey: Slice["contentKey"]; hash: string }> {
  // Not FOR UPDATE: rows that only refer to the slice, as what partners confirm, need not wait until a long change is done.
  const taken = await tx.one<Figures & { contentKey: Slice["contentKey"]; hash: string }>(
    `/* takeSlice */ SELECT s.content_key AS "contentKey", s.hash, ${figureColumns} FROM slices s WHERE s.slice_key = $1 FOR NO KEY UPDATE SKIP LOCKED`,
    [slice.key],
  );
  if (taken !== undefined) return taken;
  const there = await tx.one("/* takeSliceThere */ SELECT 1 FROM slices WHERE slice_key = $1", [slice.key]);
  if (there === undefined)
    throw new SandpiperError("not_found", `slice ${JSON.stringify(slice.name)} was removed`, { hint: "Add it again." });
  throw new SandpiperError("conflict", `slice ${JSON.stringify(slice.name)} is being changed by somebody else`, {
    hint: "Wait until that is done, then run again.",
  });
}
