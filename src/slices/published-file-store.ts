/** Which file a level-1 grain stands for: the SHA-256 of its bytes, kept with the slice and with the grain's digest. */
import type { Session } from "../database/database.ts";
import type { GrainRow } from "./grain-store.ts";

/** The SHA-256 of the file that the grain stands for, in hex; undefined when it was not noted. */
export async function readPublishedFile(tx: Session, grain: GrainRow): Promise<string | undefined> {
  const row = await tx.one<{ sha256: string }>(
    `SELECT encode(s.file_sha256, 'hex') AS sha256 FROM slices s JOIN grains g USING (content_key)
     WHERE s.content_key = $1 AND g.id = $2 AND g.digest = s.file_digest`,
    [grain.contentKey, grain.id],
  );
  return row?.sha256;
}

/** Notes the SHA-256, in hex, of the file that the grain stands for. */
export async function notePublishedFile(
  tx: Session,
  { contentKey, id }: Pick<GrainRow, "contentKey" | "id">,
  sha256: string,
): Promise<void> {
  await tx.run(
    `UPDATE slices s SET file_digest = g.digest, file_sha256 = $3 FROM grains g
     WHERE s.content_key = $1 AND g.content_key = s.content_key AND g.id = $2`,
    [contentKey, id, Buffer.from(sha256, "hex")],
  );
}
