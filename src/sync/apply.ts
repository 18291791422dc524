/**
 * Applying a slice: one transaction that deletes, adds, replaces the metadata, recomputes hash and count from the tables and
 * compares them with the primary's. The slice is wholly old or wholly new, whatever happens.
 */
import { type Session, violatedConstraint } from "../database.ts";
import { SandpiperError } from "../errors.ts";
import { clearGrains, deleteGrains, digestSql } from "../slices/grain-store.ts";
import { sortMetadata } from "../slices/hash.ts";
import { computeContent, storeContent } from "../slices/refresh.ts";
import { type CompanyId, type SliceKey, uuidText } from "../slices/slice.ts";
import { replaceMetadata } from "../slices/slice-store.ts";
import { step } from "../step.ts";
import { addActivity } from "../subscriptions/activity-store.ts";
import { idBytes } from "./frames.ts";
import type { Confirm } from "./messages.ts";
import { addToOutbox } from "./outbox-store.ts";
import { idCount } from "./reconcile.ts";
import type { Change, LocalSlice } from "./secondary-port.ts";
import { clearStage } from "./stage.ts";

/** A slice on this side, with what the store needs to know of it. */
export interface StoredSlice extends LocalSlice {
  key: SliceKey;
  subscriptionId: string;
}

const deleteBatch = 10_000;

/**
 * @throws `verification` when what would be stored is not what the primary declared, `conflict` when the slice was changed here
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
    const now = await tx.one<{ hash: string; count: number }>(
      "SELECT hash, content_count AS count FROM slices WHERE slice_key = $1 FOR UPDATE",
      [slice.key],
    );
    if (now === undefined || now.hash !== slice.hash || now.count !== slice.count) {
      throw new SandpiperError("deferred", `slice ${slice.name} was changed here while it was transferred`, {
        hint: "Run again.",
      });
    }
    await remove(tx, slice, change);
    step("s.tx.delete");
    await add(tx, slice);
    await replaceMetadata(tx, slice.key, sortMetadata(change.content.metadata));
    step("s.tx.insert");
    const stored = await computeContent(tx, slice.key);
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
    await clearStage(tx, slice.key);
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

async function remove(tx: Session, slice: StoredSlice, { removed }: Change): Promise<void> {
  if (idCount(removed) === slice.count) {
    if (slice.count > 0) await clearGrains(tx, slice.key);
    return;
  }
  for (let at = 0; at < removed.length; at += deleteBatch * idBytes) {
    const ids: string[] = [];
    for (let i = at; i < Math.min(removed.length, at + deleteBatch * idBytes); i += idBytes)
      ids.push(uuidText(removed.subarray(i, i + idBytes)));
    await deleteGrains(tx, slice.key, ids);
  }
}

/** Moves what is staged into place, in the order in which it arrived (by id), with digests computed from it. */
async function add(tx: Session, slice: StoredSlice): Promise<void> {
  try {
    await tx.run(
      `INSERT INTO grains (slice_key, id, grain_key, source, encoding, payload_bytes, payload, digest)
       SELECT g.slice_key, g.id, g.grain_key, g.source, g.encoding, g.payload_bytes, g.payload, ${digestSql("g", "staged_chunks")}
       FROM staged_grains g WHERE g.slice_key = $1`,
      [slice.key],
    );
  } catch (error) {
    if (violatedConstraint(error) === undefined) throw error;
    throw new SandpiperError("verification", `the primary sent two grains with one key for slice ${slice.name}`, {
      cause: error,
      hint: "Nothing was changed. The primary's operator should look at the slice.",
    });
  }
  await tx.run(
    "INSERT INTO grain_chunks (slice_key, grain_id, seq, data) SELECT slice_key, grain_id, seq, data FROM staged_chunks WHERE slice_key = $1",
    [slice.key],
  );
}
