/**
 * Applying a slice: one transaction that deletes, adds, replaces the metadata, recomputes hash and count from the tables and
 * compares them with the primary's. The slice is wholly old or wholly new, whatever happens.
 */
import { isDeepStrictEqual } from "node:util";
import type { Session } from "../../database/database.ts";
import { prepared } from "../../database/prepared.ts";
import { asSandpiperError, SandpiperError } from "../../errors.ts";
import { type CompanyId, type ContentKey, type SliceKey, uuidText } from "../../ids.ts";
import type { SmallGrain } from "../../slices/payloads/payload-store.ts";
import { payloads } from "../../slices/payloads/payloads.ts";
import { computeContent, contentValues, type SliceContent, storingContent } from "../../slices/refresh.ts";
import { idBytes, type Metadata, sortMetadata } from "../../slices/rules/hash.ts";
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

/** What a slice is before it is changed, its row taken. */
interface Taken {
  hash: string;
  count: number;
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
    await remove(tx, now.shown, slice.count, change.removed);
    step("s.tx.delete");
    const mostAreNew = confirm.added > slice.count - idCount(change.removed);
    const whole = await oneKeyEach(slice, () =>
      arrived === undefined ? merge(tx, slice, now as Staged, mostAreNew) : add(tx, now.shown, arrived),
    );
    const metadata = sortMetadata(change.content.metadata);
    const same = isDeepStrictEqual(metadata, now.metadata);
    if (!same) await replaceMetadata(tx, slice.key, metadata);
    step("s.tx.insert");
    const stored = await computeContent(tx, slice.key, whole, same ? now.metadata : undefined);
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

const takenColumns = `s.hash, s.content_count AS count, s.content_key AS shown, ${metadataColumn}`;

const take = (tx: Session, { key }: LocalSlice) =>
  tx.one<Taken>(prepared(`/* take */ SELECT ${takenColumns} FROM slices s WHERE s.slice_key = $1 FOR UPDATE`), [key]);

type Staged = Taken & { staged: ContentKey };

/** With what is staged for it, which is taken too. */
const takeStaged = (tx: Session, { key }: LocalSlice, { content }: Change) =>
  tx.one<Staged>(
    `/* takeStaged */ SELECT ${takenColumns}, g.content_key AS staged FROM slices s JOIN staging g USING (slice_key) WHERE s.slice_key = $1 AND g.hash = $2 FOR UPDATE`,
    [key, content.hash],
  );

async function remove(tx: Session, shown: ContentKey, count: number, removed: Buffer): Promise<void> {
  if (idCount(removed) === count) {
    if (count > 0) await payloads.clear(tx, shown);
    return;
  }
  for (let at = 0; at < removed.length; at += deleteBatch * idBytes) {
    const ids: string[] = [];
    for (let i = at; i < Math.min(removed.length, at + deleteBatch * idBytes); i += idBytes)
      ids.push(uuidText(removed.subarray(i, i + idBytes)));
    await payloads.delete(tx, shown, ids);
  }
}

/** Puts grains beside those that are kept. @returns the content key that holds the whole. */
async function add(tx: Session, shown: ContentKey, arrived: readonly SmallGrain[]): Promise<ContentKey> {
  if (arrived.length > 0) await payloads.put(tx, shown, arrived);
  return shown;
}

/**
 * Puts what is staged and what is kept together, by moving the fewer grains: after a first copy none, the slice then shows what was
 * staged. @returns the content key that holds the whole.
 */
async function merge(
  tx: Session,
  slice: LocalSlice,
  { shown, staged }: Staged,
  mostAreNew: boolean,
): Promise<ContentKey> {
  await payloads.digest(tx, staged);
  const [from, to] = mostAreNew ? [shown, staged] : [staged, shown];
  await payloads.move(tx, from, to);
  if (mostAreNew) await tx.run("/* merge */ UPDATE slices SET content_key = $2 WHERE slice_key = $1", [slice.key, to]);
  return to;
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
  content: SliceContent,
  confirm: Confirm,
): Promise<void> {
  await tx.run(
    prepared(`/* noteApplied */ WITH stored AS (${storingContent}), unstaged AS (DELETE FROM staging WHERE slice_key = $1),
       told AS (INSERT INTO outbox (company_id, run_id, slice_id, body) VALUES ($6, $7, $8, $9))
     INSERT INTO activity (company_id, run_id, slice_id, slice_name, sub_id, test, outcome, message, grains_added, grains_removed, bytes, duration_ms)
       VALUES ($6, $7, $8, $10, $11, false, $12, '', $13, $14, $15, $16) ON CONFLICT (company_id, run_id, slice_id) DO NOTHING`),
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
