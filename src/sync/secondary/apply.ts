/**
 * Applying a slice: one transaction that deletes, adds, replaces the metadata, carries the slice's figures forward with the rows that it
 * deletes and adds, and compares hash and count with the primary's. The slice is wholly old or wholly new, whatever happens.
 */
import { isDeepStrictEqual } from "node:util";
import type { Session } from "../../database/database.ts";
import { prepared } from "../../database/prepared.ts";
import { asSandpiperError, SandpiperError } from "../../errors.ts";
import { type CompanyId, type ContentKey, type SliceKey, uuidText } from "../../ids.ts";
import type { SmallGrain } from "../../slices/payloads/payload-store.ts";
import { contentValues, type SliceContent, storingContent } from "../../slices/refresh.ts";
import { idBytes, type Metadata, sortMetadata } from "../../slices/rules/hash.ts";
import type { Figures } from "../../slices/rules/tally.ts";
import { figureColumns, SliceEdit } from "../../slices/slice-edit.ts";
import { metadataColumn, replaceMetadata } from "../../slices/slice-store.ts";
import { step } from "../../step.ts";
import { refuse } from "../protocol/guards.ts";
import { idCount } from "../protocol/id-lists.ts";
import type { Confirm } from "../protocol/messages.ts";
import type { Change, LocalSlice } from "../protocol/secondary-port.ts";

const deleteBatch = 10_000;

/** The slice is not as it was when the run began: an operator did something to it. */
export const changedHere = ({ name }: LocalSlice): SandpiperError =>
  new SandpiperError("deferred", `slice ${name} was changed here while it was transferred`, { hint: "Run again." });

/** What a slice says of itself here is not what its rows are: the database was damaged, or changed by hand. */
export const misstated = ({ name, count }: LocalSlice, found: number): SandpiperError =>
  new SandpiperError("verification", `slice ${name} has ${found} grains here, and says ${count}`, {
    hint: "Run again; if that does not help, restore the database from a backup.",
  });

/** Whether a slice still is as it was when the run began. */
export async function isAsIt(session: Session, { key, hash, count }: LocalSlice): Promise<boolean> {
  const row = await session.one(
    "/* isAsIt */ SELECT 1 FROM slices WHERE slice_key = $1 AND hash = $2 AND content_count = $3",
    [key, hash, count],
  );
  return row !== undefined;
}

/** What a slice is before it is changed, its row taken. */
interface Taken extends Figures {
  hash: string;
  shown: ContentKey;
  metadata: Metadata;
}

/**
 * @param arrived the grains that are new, when they are so few that they were not staged.
 * @param beforeCommit called when all is done but the commit: what fails before that is certainly not committed.
 * @throws `verification` when what would be stored is not what the primary declared, `deferred` when the slice was changed here
 * meanwhile, `storage` when the database fails; the slice is as it was then, unless the commit's outcome is unknown.
 */
export async function applyChange(
  session: Session,
  companyId: CompanyId,
  slice: LocalSlice,
  change: Change,
  confirm: Confirm,
  arrived: readonly SmallGrain[] | undefined,
  beforeCommit: () => void,
): Promise<void> {
  await session.transaction(async (tx) => {
    step("s.tx.begin");
    const now = arrived === undefined ? await takeStaged(tx, slice, change) : await take(tx, slice);
    if (now?.hash !== slice.hash || now.count !== slice.count) throw changedHere(slice);
    const edit = new SliceEdit(tx, { key: slice.key, contentKey: now.shown }, now);
    await remove(edit, slice.count, change.removed);
    step("s.tx.delete");
    const mostAreNew = confirm.added > slice.count - idCount(change.removed);
    await oneKeyEach(slice, async () => {
      if (arrived === undefined) await edit.merge((now as Staged).staged, mostAreNew);
      else if (arrived.length > 0) await edit.put(arrived);
    });
    const metadata = sortMetadata(change.content.metadata);
    const same = isDeepStrictEqual(metadata, now.metadata);
    if (!same) await replaceMetadata(tx, slice.key, metadata);
    step("s.tx.insert");
    const stored = await edit.finish(same ? now.metadata : undefined);
    if (stored.hash !== change.content.hash || stored.count !== change.content.count) {
      refuse(
        "apply.proof",
        new SandpiperError(
          "verification",
          `slice ${slice.name} would not be what the primary declared (hash ${stored.hash}, ${stored.count} grains; declared ${change.content.hash}, ${change.content.count})`,
          {
            hint: "Nothing was changed. The primary's operator should refresh the slice; if that does not help, report it.",
          },
        ),
      );
    }
    step("s.tx.verify");
    await noteApplied(tx, companyId, slice, stored, confirm);
    step("s.tx.commit");
    beforeCommit();
  });
  step("s.tx.committed");
}

const takenColumns = `s.hash, s.content_key AS shown, ${figureColumns}, ${metadataColumn}`;

const take = (tx: Session, { key }: LocalSlice) =>
  tx.one<Taken>(prepared(`/* take */ SELECT ${takenColumns} FROM slices s WHERE s.slice_key = $1 FOR UPDATE`), [key]);

type Staged = Taken & { staged: ContentKey };

/** With what is staged for it, which is taken too. */
const takeStaged = (tx: Session, { key }: LocalSlice, { content }: Change) =>
  tx.one<Staged>(
    `/* takeStaged */ SELECT ${takenColumns}, g.content_key AS staged FROM slices s JOIN staging g USING (slice_key) WHERE s.slice_key = $1 AND g.hash = $2 FOR UPDATE`,
    [key, content.hash],
  );

async function remove(edit: SliceEdit, count: number, removed: Buffer): Promise<void> {
  if (idCount(removed) === count) {
    if (count > 0) await edit.clear();
    return;
  }
  for (let at = 0; at < removed.length; at += deleteBatch * idBytes) {
    const ids: string[] = [];
    for (let i = at; i < Math.min(removed.length, at + deleteBatch * idBytes); i += idBytes)
      ids.push(uuidText(removed.subarray(i, i + idBytes)));
    await edit.delete(ids);
  }
}

async function oneKeyEach<T>(slice: LocalSlice, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (asSandpiperError(error).code !== "conflict") throw error;
    refuse(
      "apply.two-keys",
      new SandpiperError("verification", `the primary sent two grains with one key for slice ${slice.name}`, {
        cause: error,
        hint: "Nothing was changed. The primary's operator should look at the slice.",
      }),
    );
  }
}

/**
 * Writes what a slice has become: its figures, the confirmation, and what is logged; nothing is staged for it any more. One statement,
 * for it is part of what every slice costs.
 */
export async function noteApplied(
  tx: Session,
  companyId: CompanyId,
  slice: { key: SliceKey; name: string; subscriptionId: string },
  content: Omit<SliceContent, "metadata">,
  confirm: Confirm,
): Promise<void> {
  await tx.run(
    prepared(`/* noteApplied */ WITH stored AS (${storingContent}), unstaged AS (DELETE FROM staging WHERE slice_key = $1),
       told AS (INSERT INTO outbox (company_id, run_id, slice_id, body) VALUES ($7, $8, $9, $10))
     INSERT INTO activity (company_id, run_id, slice_id, slice_name, sub_id, test, outcome, message, grains_added, grains_removed, bytes, duration_ms)
       VALUES ($7, $8, $9, $11, $12, false, $13, '', $14, $15, $16, $17) ON CONFLICT (company_id, run_id, slice_id) DO NOTHING`),
    [
      ...contentValues(slice.key, content),
      companyId,
      confirm.run_id,
      confirm.id,
      JSON.stringify(confirm),
      slice.name,
      slice.subscriptionId,
      confirm.outcome,
      confirm.added,
      confirm.removed,
      confirm.bytes,
      confirm.duration_ms,
    ],
  );
}
