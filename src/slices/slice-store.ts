/** Slices and their metadata in the database. */

import type { Database, Session } from "../database/database.ts";
import { violatedConstraint } from "../database/database-errors.ts";
import { stageLock } from "../database/locks.ts";
import { prepared } from "../database/prepared.ts";
import { everything, type Scope, scopeValue, sliceInScope, slicesInScope } from "../database/scope.ts";
import { SandpiperError } from "../errors.ts";
import { type CompanyId, type ContentKey, isUuid, type SliceKey } from "../ids.ts";
import { checkName, nameKey } from "../names.ts";
import { payloads } from "./payloads/payloads.ts";
import { type Metadata, sliceHash, sortMetadata, sumBytes } from "./rules/hash.ts";
import { checkMetadata } from "./rules/metadata.ts";
import { type Slice, sliceTypes } from "./rules/slice.ts";

type Queries = Pick<Session | Database, "query" | "one" | "run">;

/** The Go reference's hash, if it is known for what the slice holds now. */
export const referenceColumn = "CASE WHEN s.reference_hash_of = s.hash THEN s.reference_hash END";

const sliceColumns = `s.slice_key AS key, s.content_key AS "contentKey", s.company_id AS "companyId", s.id, s.name, s.slice_type AS type, s.allow_sync AS "allowSync",
  s.hash, ${referenceColumn} AS "referenceHash", s.content_count AS count, s.content_bytes AS bytes, s.content_date AS "contentDate",
  s.created_at AS "createdAt", s.updated_at AS "updatedAt"`;

export interface Page {
  limit: number;
  offset: number;
}

/** Slices that the scope sees, by name; with how many there are in all. */
export async function listSlices(db: Queries, scope: Scope, page?: Page): Promise<{ slices: Slice[]; total: number }> {
  const slices = await db.query<Slice>(
    prepared(
      `SELECT ${sliceColumns} FROM slices s WHERE ${slicesInScope(scope, "$1")} ORDER BY s.name_key LIMIT $2 OFFSET $3`,
    ),
    [scopeValue(scope), page?.limit ?? null, page?.offset ?? 0],
  );
  if (page === undefined) return { slices, total: slices.length };
  const counted = await db.one<{ total: number }>(
    prepared(`SELECT count(*) AS total FROM slices s WHERE ${slicesInScope(scope, "$1")}`),
    [scopeValue(scope)],
  );
  return { slices, total: counted!.total };
}

/** The slice with this name or id, if the scope sees it. @throws `usage` when an id means slices of several companies. */
export async function findSlice(db: Queries, scope: Scope, nameOrId: string): Promise<Slice | undefined> {
  const byId = isUuid(nameOrId);
  const rows = await db.query<Slice>(
    prepared(
      `SELECT ${sliceColumns} FROM slices s WHERE ${byId ? "s.id = $2::uuid" : "s.name_key = $2"} AND ${sliceInScope(scope, "$1")}`,
    ),
    [scopeValue(scope), byId ? nameOrId : nameKey(nameOrId)],
  );
  if (rows.length > 1) {
    throw new SandpiperError("usage", `several companies have a slice with the id ${nameOrId}`, {
      hint: "Use its name.",
    });
  }
  return rows[0];
}

/** As {@link findSlice}. @throws `not_found` when there is none. */
export async function requireSlice(db: Queries, nameOrId: string, scope: Scope = everything): Promise<Slice> {
  const slice = await findSlice(db, scope, nameOrId);
  if (slice === undefined) {
    throw new SandpiperError("not_found", `there is no slice ${JSON.stringify(nameOrId)}`, {
      hint: "`sandpiper slice list` shows what there is.",
    });
  }
  return slice;
}

/** Adds an empty slice. @throws `usage` for a bad name, type or metadata, `limit` for too much of it, `conflict` for a taken name. */
export async function addSlice(
  db: Database,
  input: { companyId: CompanyId; id?: string; name: string; type: string; metadata?: Metadata; allowSync?: boolean },
): Promise<Slice> {
  checkName("slice", input.name);
  checkType(input.type);
  checkMetadata(input.metadata ?? []);
  try {
    return await db.transaction(async (tx) => {
      const metadata = sortMetadata(input.metadata ?? []);
      // Metadata is part of the hash, and nobody may see the slice without it.
      const hash = sliceHash({ sum: Buffer.alloc(sumBytes), count: 0 }, metadata);
      const slice = await insertSlice(tx, { ...input, hash });
      await replaceMetadata(tx, slice.key, metadata);
      return slice;
    });
  } catch (error) {
    if (violatedConstraint(error) !== undefined) {
      throw new SandpiperError(
        "conflict",
        `a slice named ${JSON.stringify(input.name)} or with that id exists already`,
        { cause: error, hint: "Choose another name; `sandpiper slice list` shows what there is." },
      );
    }
    throw error;
  }
}

async function insertSlice(
  tx: Queries,
  input: {
    companyId: CompanyId;
    id?: string | undefined;
    name: string;
    type: string;
    allowSync?: boolean | undefined;
    hash: string;
  },
): Promise<Slice> {
  const row = await tx.one<Slice>(
    `/* insertSlice */ INSERT INTO slices AS s (company_id, id, name, name_key, slice_type, allow_sync, hash)
     VALUES ($1, coalesce($2::uuid, gen_random_uuid()), $3, $4, $5, $6, $7) RETURNING ${sliceColumns}`,
    [
      input.companyId,
      input.id ?? null,
      input.name,
      nameKey(input.name),
      input.type,
      input.allowSync ?? true,
      input.hash,
    ],
  );
  return row!;
}

/** Adds empty copies that were never synced, for a caller that checked them. @returns their keys by id. */
export async function insertCopies(
  tx: Queries,
  companyId: CompanyId,
  slices: readonly { id: string; name: string; type: string }[],
): Promise<Map<string, SliceKey>> {
  if (slices.length === 0) return new Map();
  const rows = await tx.query<{ id: string; key: SliceKey }>(
    `/* insertCopies */ INSERT INTO slices (company_id, id, name, name_key, slice_type)
     SELECT $1, id, name, name_key, type FROM unnest($2::uuid[], $3::text[], $4::text[], $5::text[]) WITH ORDINALITY AS u (id, name, name_key, type, n) ORDER BY n
     RETURNING id, slice_key AS key`,
    [
      companyId,
      slices.map(({ id }) => id),
      slices.map(({ name }) => name),
      slices.map(({ name }) => nameKey(name)),
      slices.map(({ type }) => type),
    ],
  );
  return new Map(rows.map(({ id, key }) => [id, key]));
}

export function checkType(type: string): void {
  if (!(sliceTypes as readonly string[]).includes(type)) {
    throw new SandpiperError("usage", `${JSON.stringify(type)} is not a slice type`, {
      hint: `Slice types are: ${sliceTypes.join(", ")}.`,
    });
  }
}

/** Sets whether partners may sync the slice. */
export async function setAllowSync(db: Queries, key: SliceKey, allow: boolean): Promise<void> {
  await db.run("/* setAllowSync */ UPDATE slices SET allow_sync = $2, updated_at = now() WHERE slice_key = $1", [
    key,
    allow,
  ]);
}

/** Renames a slice. @throws `conflict` when the name is taken. */
export async function renameSlice(db: Queries, key: SliceKey, name: string): Promise<void> {
  await db.run(
    "/* renameSlice */ UPDATE slices SET name = $2, name_key = $3, updated_at = now() WHERE slice_key = $1",
    [key, name, nameKey(name)],
  );
}

export async function setSliceType(db: Queries, key: SliceKey, type: string): Promise<void> {
  await db.run("/* setSliceType */ UPDATE slices SET slice_type = $2, updated_at = now() WHERE slice_key = $1", [
    key,
    type,
  ]);
}

/** A slice's metadata, in the order that its hash wants. */
export async function readMetadata(db: Queries, key: SliceKey): Promise<Metadata> {
  const rows = await db.query<{ key: string; value: string }>(
    prepared("/* readMetadata */ SELECT key, value FROM slice_metadata WHERE slice_key = $1 ORDER BY key"),
    [key],
  );
  return rows.map((row) => [row.key, row.value] as const);
}

/** The same as a column of a statement about `slices s`. */
export const metadataColumn = `(SELECT coalesce(json_agg(json_build_array(m.key, m.value) ORDER BY m.key), '[]') FROM slice_metadata m WHERE m.slice_key = s.slice_key) AS metadata`;

/** Makes `metadata` the slice's metadata, whatever was there. The caller refreshes the slice in the same transaction. */
export async function replaceMetadata(tx: Queries, key: SliceKey, metadata: Metadata): Promise<void> {
  await tx.run("/* replaceMetadataOld */ DELETE FROM slice_metadata WHERE slice_key = $1", [key]);
  await tx.run(
    "/* replaceMetadata */ INSERT INTO slice_metadata (slice_key, key, value) SELECT $1, * FROM unnest($2::text[], $3::text[])",
    [key, metadata.map(([k]) => k), metadata.map(([, v]) => v)],
  );
}

type Content = { content_key: ContentKey };

/** Removes a slice with its grains and subscriptions, in one transaction. */
export async function removeSlice(db: Database, key: SliceKey): Promise<void> {
  await db.transaction(async (tx) => {
    // The next sync looks at the primary's list of subscriptions whole. First, so that nobody applies a list meanwhile without knowing of this.
    await tx.run(
      "/* removeSliceEtag */ UPDATE companies SET subs_etag = NULL WHERE id = (SELECT company_id FROM slices WHERE slice_key = $1)",
      [key],
    );
    // Its row before what is staged for it: nobody begins to stage for a slice whose row is taken, and would not be waited for.
    const shown = await tx.query<Content>(
      "/* removeSliceRow */ SELECT content_key FROM slices WHERE slice_key = $1 FOR UPDATE",
      [key],
    );
    await tx.run(
      `/* removeSliceLock */ SELECT pg_advisory_xact_lock(${stageLock("content_key")}) FROM staging WHERE slice_key = $1`,
      [key],
    );
    const staged = await tx.query<Content>(
      "/* removeSliceStage */ DELETE FROM staging WHERE slice_key = $1 RETURNING content_key",
      [key],
    );
    for (const { content_key } of [...shown, ...staged]) {
      await payloads.clear(tx, content_key);
    }
    await tx.run("/* removeSliceSubscriptions */ DELETE FROM subscriptions WHERE slice_key = $1", [key]);
    await tx.run("/* removeSlice */ DELETE FROM slices WHERE slice_key = $1", [key]);
  });
}
