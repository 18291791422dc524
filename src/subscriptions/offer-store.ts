/** What a primary offers to a company: its subscriptions with their slices, and a name for the list. */
import type { Subscription } from "../companies/company.ts";
import type { Database, Session } from "../database/database.ts";
import type { CompanyId, SliceId } from "../ids.ts";
import type { Slice } from "../slices/rules/slice.ts";
import { referenceColumn } from "../slices/slice-store.ts";
import { columns, tables } from "./subscription-store.ts";

type Queries = Pick<Session | Database, "query" | "one" | "run">;

/** A subscription with the whole of its slice. */
export type Offered = Subscription & { slice: Slice };

/** What a company may receive, in order of id, switched off or not; at most `limit`. */
async function listOffers(db: Queries, companyId: CompanyId, limit: number): Promise<Offered[]> {
  const rows = await db.query<Subscription & Prefixed>(
    `/* listOffers */ SELECT ${columns}, s.content_key AS "slice.contentKey", s.company_id AS "slice.companyId", s.allow_sync AS "slice.allowSync", s.hash AS "slice.hash",
       ${referenceColumn} AS "slice.referenceHash", s.content_count AS "slice.count", s.content_bytes AS "slice.bytes",
       s.content_date AS "slice.contentDate", s.created_at AS "slice.createdAt", s.updated_at AS "slice.updatedAt"
     FROM ${tables} WHERE u.company_id = $1 ORDER BY u.id LIMIT $2`,
    [companyId, limit],
  );
  return rows.map((row) => ({
    ...row,
    slice: {
      key: row.sliceKey,
      contentKey: row["slice.contentKey"],
      id: row.sliceId as SliceId,
      name: row.sliceName,
      type: row.sliceType,
      companyId: row["slice.companyId"],
      allowSync: row["slice.allowSync"],
      hash: row["slice.hash"],
      referenceHash: row["slice.referenceHash"],
      count: row["slice.count"],
      bytes: row["slice.bytes"],
      contentDate: row["slice.contentDate"],
      createdAt: row["slice.createdAt"],
      updatedAt: row["slice.updatedAt"],
    },
  }));
}

/**
 * A name for what {@link listOffers} says of a company: of what the rules of subscriptions look at, rows, names and flags. What the
 * slices hold is compared elsewhere, and changes often.
 */
async function nameOffers(db: Queries, companyId: CompanyId): Promise<string> {
  const row = await db.one<{ name: string }>(
    `/* nameOffers */ SELECT encode(sha256(convert_to(coalesce(string_agg(
       jsonb_build_array(u.id, u.name, u.description, u.active, s.id, s.name, s.slice_type)::text, ',' ORDER BY u.id), ''), 'UTF8')), 'hex') AS name
     FROM ${tables} WHERE u.company_id = $1`,
    [companyId],
  );
  return row!.name.slice(0, 32);
}

/**
 * What a company may receive, and a name for it; without the list when that is the one with the name `known`. Both are of one moment: a
 * list with the name of another would be taken for that other one when it comes back.
 */
export async function readOffers(
  db: Database,
  companyId: CompanyId,
  known: string | undefined,
  limit: number,
): Promise<{ name: string; offers: Offered[] | null }> {
  return db.transaction(
    async (tx) => {
      const name = await nameOffers(tx, companyId);
      return { name, offers: name === known ? null : await listOffers(tx, companyId, limit) };
    },
    { readOnly: true, snapshot: true },
  );
}

type Prefixed = { [K in keyof Slice as `slice.${K}`]: Slice[K] };
