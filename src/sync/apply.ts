/**
 * Applying a slice: one transaction that deletes, adds, replaces the metadata, recomputes hash and count from the tables and
 * compares them with the primary's. The slice is wholly old or wholly new, whatever happens.
 */
import type { Session } from "../database.ts";
import { asSandpiperError, SandpiperError } from "../errors.ts";
import { clearGrains, deleteGrains, digestChunks, moveGrains } from "../slices/grain-store.ts";
import { sortMetadata } from "../slices/hash.ts";
import { computeContent, storeContent } from "../slices/refresh.ts";
import { type CompanyId, type ContentKey, type SliceKey, uuidText } from "../slices/slice.ts";
import { replaceMetadata } from "../slices/slice-store.ts";
import { step } from "../step.ts";
import { addActivity } from "../subscriptions/activity-store.ts";
import { idBytes } from "./frames.ts";
import type { Confirm } from "./messages.ts";
import { addToOutbox } from "./outbox-store.ts";
import { idCount } from "./reconcile.ts";
import type { Change, LocalSlice } from "./secondary-port.ts";

/** A slice on this side, with what the store needs to know of it. */
export interface StoredSlice extends LocalSlice {
  key: SliceKey;
  contentKey: ContentKey;
  subscriptionId: string;
}

const deleteBatch = 10_000;

/** The slice is not as it was when the run began: an operator did something to it. */
export const changedHere = ({ name }: LocalSlice): SandpiperError =>
  new SandpiperError("deferred", `slice ${name} was changed here while it was transferred`, { hint: "Run again." });

/**
 * @throws `verification` when what would be stored is not what the primary declared, `deferred` when the slice was changed here
 * meanwhile, `storage` when the database fails; the slice is as it was then, unless the commit's outcome is unknown.
 */
export async function applyChange(
  session: Session,
  companyId: CompanyId,
  slice: StoredSlice,
  change: Change,
  confirm: Confirm,
): Promise<void> {
  await session.transaction(async (tx) => {
    step("s.tx.begin");
    const now = await tx.one<{ hash: string; count: number; shown: ContentKey; staged: ContentKey }>(
      `SELECT s.hash, s.content_count AS count, s.content_key AS shown, g.content_key AS staged
       FROM slices s JOIN staging g USING (slice_key) WHERE s.slice_key = $1 AND g.hash = $2 FOR UPDATE`,
      [slice.key, change.content.hash],
    );
    if (now?.hash !== slice.hash || now.count !== slice.count) throw changedHere(slice);
    await remove(tx, now.shown, slice.count, change.removed);
    step("s.tx.delete");
    await digestChunks(tx, now.staged);
    const merged = await merge(tx, slice, now, confirm.added > slice.count - idCount(change.removed));
    await replaceMetadata(tx, slice.key, sortMetadata(change.content.metadata));
    step("s.tx.insert");
    const stored = await computeContent(tx, slice.key, merged);
    if (stored.hash !== change.content.hash || stored.count !== change.content.count) {
      throw new SandpiperError(
        "verification",
        `slice ${slice.name} would not be what the primary declared (hash ${stored.hash}, ${stored.count} grains; declared ${change.content.hash}, ${change.content.count})`,
        {
          hint: "Nothing was changed. The primary's operator should refresh the slice; if it stays, report it.",
        },
      );
    }
    step("s.tx.verify");
    await storeContent(tx, slice.key, stored);
    await tx.run("DELETE FROM staging WHERE slice_key = $1", [slice.key]);
    await addToOutbox(tx, companyId, confirm);
    await addActivity(tx, {
      companyId,
      runId: confirm.run_id,
      sliceId: slice.id,
      sliceName: slice.name,
      subId: slice.subscriptionId,
      test: false,
      outcome: confirm.outcome,
      message: "",
      grainsAdded: confirm.added,
      grainsRemoved: confirm.removed,
      bytes: confirm.bytes,
      durationMs: confirm.duration_ms,
    });
    step("s.tx.commit");
  });
  step("s.tx.committed");
}

async function remove(tx: Session, shown: ContentKey, count: number, removed: Buffer): Promise<void> {
  if (idCount(removed) === count) {
    if (count > 0) await clearGrains(tx, shown);
    return;
  }
  for (let at = 0; at < removed.length; at += deleteBatch * idBytes) {
    const ids: string[] = [];
    for (let i = at; i < Math.min(removed.length, at + deleteBatch * idBytes); i += idBytes)
      ids.push(uuidText(removed.subarray(i, i + idBytes)));
    await deleteGrains(tx, shown, ids);
  }
}

/**
 * Puts what is staged and what is kept together, by moving the fewer grains: after a first copy none, the slice then shows what was
 * staged. @returns the content key that holds the whole.
 */
async function merge(
  tx: Session,
  slice: StoredSlice,
  { shown, staged }: { shown: ContentKey; staged: ContentKey },
  mostAreNew: boolean,
): Promise<ContentKey> {
  const [from, to] = mostAreNew ? [shown, staged] : [staged, shown];
  try {
    await moveGrains(tx, from, to);
  } catch (error) {
    if (asSandpiperError(error).code !== "conflict") throw error;
    throw new SandpiperError("verification", `the primary sent two grains with one key for slice ${slice.name}`, {
      cause: error,
      hint: "Nothing was changed. The primary's operator should look at the slice.",
    });
  }
  if (mostAreNew) await tx.run("UPDATE slices SET content_key = $2 WHERE slice_key = $1", [slice.key, to]);
  return to;
}
