/** How much space grains take, as the database has it, and giving up what is staged. */
import type { Database, Session } from "../../database/database.ts";
import { stageLock } from "../../database/locks.ts";
import type { CompanyId, ContentKey, SliceKey } from "../../ids.ts";
import { payloads } from "../../slices/payloads/payloads.ts";
import { bytesUnder, fileBytes } from "../../slices/payloads/sql-parts.ts";
import { leastRowBytes, mostRowBytes, rowBytes } from "../rules/budget.ts";

type Queries = Pick<Session | Database, "query" | "one">;

/** What a grain counts besides its payload. */
const row = `octet_length(b.grain_key) + octet_length(b.source) + ${rowBytes}`;
/** The same on disk, where the key is in an index too. */
const diskRow = `octet_length(b.grain_key) + ${row}`;

/** Bytes of what is staged as `g`, a row counting so much. */
const stagedBytes = (ofRow: number | string) => bytesUnder("g.content_key", ofRow);

/** Bytes of a primary's metadata, and of what is staged for it. */
const metadataAndStaged = (ofRow: number | string) =>
  `(SELECT coalesce(sum(octet_length(m.key) + octet_length(m.value)), 0) FROM slice_metadata m JOIN slices s USING (slice_key) WHERE s.company_id = $1)
   + (SELECT coalesce(sum(k.bytes), 0) FROM staging g JOIN slices s USING (slice_key) CROSS JOIN LATERAL (${stagedBytes(ofRow)}) k WHERE s.company_id = $1)`;

/** Bytes that a primary has here, stored and staged, at most: without looking at each of its grains; and those that others have stored, about. */
export async function estimateHeld(db: Queries, companyId: CompanyId): Promise<{ held: number; others: number }> {
  const found = await db.one<{ held: number; others: number }>(
    `/* estimateHeld */ SELECT (stored.held + ${metadataAndStaged(mostRowBytes)})::bigint AS held, stored.others FROM (
       SELECT coalesce(sum(content_bytes + ${mostRowBytes} * content_count) FILTER (WHERE company_id = $1), 0) AS held,
         coalesce(sum(content_bytes + ${rowBytes} * content_count) FILTER (WHERE company_id <> $1), 0)::bigint AS others FROM slices) stored`,
    [companyId],
  );
  return found!;
}

/** Bytes that a primary has here, stored and staged, from every grain. */
export async function measureHeld(db: Queries, companyId: CompanyId): Promise<number> {
  const found = await db.one<{ held: number }>(
    `/* measureHeld */ SELECT ((SELECT coalesce(sum(k.bytes), 0) FROM slices s CROSS JOIN LATERAL
       (SELECT sum(b.payload_bytes + ${row}) AS bytes FROM grains b WHERE b.content_key = s.content_key) k WHERE s.company_id = $1) + ${metadataAndStaged(row)})::bigint AS held`,
    [companyId],
  );
  return found!.held;
}

/** Bytes of the files that grains are in, and how many of them hold nothing any more: about, and rather too many than too few. */
export async function readFiles(db: Queries): Promise<{ bytes: number; reusable: number }> {
  const found = await db.one<{ bytes: number; used: number }>(
    `SELECT ${fileBytes} AS bytes,
       ((SELECT coalesce(sum(content_bytes + ${leastRowBytes} * content_count), 0) FROM slices)
       + (SELECT coalesce(sum(k.bytes), 0) FROM staging g CROSS JOIN LATERAL (${stagedBytes(diskRow)}) k))::bigint AS used`,
  );
  return { bytes: found!.bytes, reusable: Math.max(0, found!.bytes - found!.used) };
}

/** Something that is staged. */
export interface StageRow {
  key: SliceKey;
  companyId: CompanyId;
  contentKey: ContentKey;
  bytes: number;
  updatedAt: Date;
}

/** All that is staged, whatever it is for; what was not gone on with for the longest time comes first. */
export async function listStages(db: Queries): Promise<StageRow[]> {
  const stages = await db.query<StageRow>(
    `/* listStages */ SELECT g.slice_key AS key, s.company_id AS "companyId", g.content_key AS "contentKey", k.bytes::bigint AS bytes, g.updated_at AS "updatedAt"
     FROM staging g JOIN slices s USING (slice_key) CROSS JOIN LATERAL (${stagedBytes(row)}) k`,
  );
  return stages.sort((a, b) => a.updatedAt.getTime() - b.updatedAt.getTime());
}

/** Deletes what is staged under a content key, unless somebody is staging it or it is gone. @returns whether it did. */
export async function giveUpStage(db: Database, content: ContentKey): Promise<boolean> {
  return db.transaction(async (tx) => {
    const lock = await tx.one<{ ok: boolean }>(
      `/* giveUpStageLock */ SELECT pg_try_advisory_xact_lock(${stageLock("$1")}) AS ok`,
      [content],
    );
    if (
      lock?.ok !== true ||
      (await tx.run("/* giveUpStage */ DELETE FROM staging WHERE content_key = $1", [content])) === 0
    )
      return false;
    await payloads.clear(tx, content);
    return true;
  });
}
