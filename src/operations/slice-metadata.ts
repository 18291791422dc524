/** A slice's metadata, which is part of its hash: partners get a change with their next sync. */
import type { App } from "../app.ts";
import { SandpiperError } from "../errors.ts";
import { applyBatch } from "../slices/batch.ts";
import { changeSlice } from "../slices/change-slice.ts";
import { type Metadata, sortMetadata } from "../slices/rules/hash.ts";
import { checkMetadata } from "../slices/rules/metadata.ts";
import { readMetadata, replaceMetadata } from "../slices/slice-store.ts";
import type { Actor } from "./actor.ts";
import { sliceFor } from "./find.ts";
import { requireRole } from "./role.ts";

/**
 * Sets pairs of a slice's metadata, or removes those that are null, on a primary.
 *
 * @returns the metadata that it has then.
 * @throws `usage` for a pair that cannot be stored, `not_found` for one to remove that is not there, `limit`, `conflict` while somebody changes it.
 */
export async function editMetadata(
  app: App,
  actor: Actor,
  nameOrId: string,
  edits: ReadonlyMap<string, string | null>,
): Promise<Metadata> {
  requireRole(app, "primary", "changing metadata");
  const slice = await sliceFor(app, actor, nameOrId);
  const there = new Map(await readMetadata(app.db, slice.key));
  for (const [key, value] of edits) {
    if (value !== null || there.has(key)) continue;
    throw new SandpiperError("not_found", `slice ${slice.name} has no metadata ${JSON.stringify(key)}`, {
      hint: "`sandpiper slice meta NAME` shows what there is.",
    });
  }
  const metadata = Object.fromEntries(edits);
  await applyBatch(app.db, slice, [{ metadata }], app.config.limits.max_grain_bytes);
  return readMetadata(app.db, slice.key);
}

/** Makes these pairs, in any order, a slice's metadata, on a primary. @returns them as they are kept. @throws `usage` for a pair that cannot be stored, or a key that is named twice; `limit` */
export async function setMetadata(app: App, actor: Actor, nameOrId: string, pairs: Metadata): Promise<Metadata> {
  requireRole(app, "primary", "changing metadata");
  const slice = await sliceFor(app, actor, nameOrId);
  const metadata = sortMetadata(pairs);
  if (new Set(metadata.map(([key]) => key)).size < metadata.length)
    throw new SandpiperError("usage", "the metadata names a key twice");
  checkMetadata(metadata);
  await changeSlice(app.db, slice, ({ tx }) => replaceMetadata(tx, slice.key, metadata));
  return metadata;
}
