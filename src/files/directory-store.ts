/** Which directory belongs to which slice, remembered in the database: one answer for every place that is pulled to, and for good. */

import type { Session } from "../database/database.ts";
import { directoriesLock } from "../database/locks.ts";
import { SandpiperError } from "../errors.ts";
import type { SliceKey } from "../ids.ts";
import type { Slice } from "../slices/rules/slice.ts";
import { fileNameKey } from "./rules/file-name.ts";
import { chooseDirectories, type Directory, identity } from "./rules/slice-directory.ts";

/**
 * The directory of each slice. What is chosen for the first time is remembered.
 *
 * @param claims what a manifest says of slices that the database remembers nothing of: a program before 0007, or another database, chose it.
 * @param reserved names that no slice may have.
 */
export function settleDirectories(
  session: Session,
  slices: readonly Slice[],
  claims: readonly Directory[],
  reserved: readonly string[],
): Promise<Map<SliceKey, string>> {
  return session.transaction(async (tx) => {
    // Two pulls at once, to different places: one after the other chooses.
    await tx.run(`SELECT pg_advisory_xact_lock(${directoriesLock})`);
    const remembered = await tx.query<Directory>(
      'SELECT name, company_id AS "companyId", slice_id AS "sliceId" FROM slice_directories ORDER BY name_key',
    );
    const chosen = chooseDirectories(slices, [...remembered, ...claims], reserved);
    const known = new Set(remembered.map(({ companyId, sliceId }) => identity(companyId, sliceId)));
    const fresh = slices.filter(({ companyId, id }) => !known.has(identity(companyId, id)));
    await remember(
      tx,
      fresh.map((slice) => ({ name: chosen.get(slice.key)!, companyId: slice.companyId, sliceId: slice.id })),
    );
    return chosen;
  });
}

async function remember(tx: Session, directories: readonly Directory[]): Promise<void> {
  if (directories.length === 0) return;
  const written = await tx.run(
    `INSERT INTO slice_directories AS d (name_key, name, company_id, slice_id) SELECT * FROM unnest($1::text[], $2::text[], $3::uuid[], $4::uuid[])
     ON CONFLICT (name_key) DO UPDATE SET name = excluded.name, slice_id = excluded.slice_id WHERE d.company_id = excluded.company_id`,
    [
      directories.map(({ name }) => fileNameKey(name)),
      directories.map(({ name }) => name),
      directories.map(({ companyId }) => companyId),
      directories.map(({ sliceId }) => sliceId),
    ],
  );
  if (written !== directories.length)
    throw new SandpiperError("internal", "the directory of one company's slice was chosen for another's");
}
