/** Bringing a database up to this program. */
import type { Database, Session } from "../database/database.ts";
import { migrate } from "../database/migrate.ts";
import { refreshSlice } from "../slices/refresh.ts";
import type { Slice } from "../slices/rules/slice.ts";

/** As {@link migrate}, with what SQL alone cannot do. @param db opened as `owner`. @returns the names of the migrations that were applied. */
export const migrateDatabase = (db: Database): Promise<string[]> => migrate(db, { "0013-tallies.sql": countSlices });

/** Counts all slices that hold something, or have metadata. When they were changed stays as it was. */
async function countSlices(tx: Session): Promise<void> {
  const slices = await tx.query<Pick<Slice, "key" | "contentKey" | "contentDate">>(
    `SELECT slice_key AS key, content_key AS "contentKey", content_date AS "contentDate" FROM slices WHERE hash <> '' ORDER BY slice_key`,
  );
  for (const slice of slices) {
    await refreshSlice(tx, slice);
    await tx.run("UPDATE slices SET content_date = $2 WHERE slice_key = $1", [slice.key, slice.contentDate]);
  }
}
