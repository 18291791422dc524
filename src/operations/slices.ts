/** Slices as things. What they hold: publish.ts, slice-metadata.ts. */
import type { App } from "../app.ts";
import { checkName } from "../names.ts";
import { recount } from "../slices/recount.ts";
import type { Metadata } from "../slices/rules/hash.ts";
import type { Slice } from "../slices/rules/slice.ts";
import { addSlice, checkType, removeSlice, renameSlice, setAllowSync, setSliceType } from "../slices/slice-store.ts";
import { listSubscriptions } from "../subscriptions/subscription-store.ts";
import { type Actor, scopeOf } from "./actor.ts";
import { sliceFor } from "./find.ts";
import { requirePrimaryUnlessOperator, requireRole } from "./role.ts";

/** Adds an empty slice of our own, on a primary. @throws as {@link addSlice}. */
export async function createSlice(
  app: App,
  input: { name: string; type: string; id?: string; metadata?: Metadata; allowSync?: boolean },
): Promise<Slice> {
  requireRole(app, "primary", "`slice add`");
  return addSlice(app.db, { ...input, companyId: app.server.serverId });
}

/** Gives a slice another name or type, on a primary. @throws `not_found`, `usage` for a bad name or type, `conflict` for a name that is taken. */
export async function editSlice(
  app: App,
  actor: Actor,
  nameOrId: string,
  { name, type }: { name?: string; type?: string },
): Promise<Slice> {
  requireRole(app, "primary", "changing a slice");
  const { key, id } = await sliceFor(app, actor, nameOrId);
  // Not in the store: what a primary's slice is called at a secondary may look like an id, and be of a type that we do not know.
  if (name !== undefined) checkName("slice", name);
  if (type !== undefined) checkType(type);
  await app.db.transaction(async (tx) => {
    if (name !== undefined) await renameSlice(tx, key, name);
    if (type !== undefined) await setSliceType(tx, key, type);
  });
  return sliceFor(app, actor, id);
}

/** Keeps partners from syncing a slice, or lets them again, on a primary. @throws `not_found` */
export async function lockSlice(app: App, actor: Actor, nameOrId: string, locked: boolean): Promise<Slice> {
  requireRole(app, "primary", locked ? "`slice lock`" : "`slice unlock`");
  const { key, id } = await sliceFor(app, actor, nameOrId);
  await setAllowSync(app.db, key, !locked);
  return sliceFor(app, actor, id);
}

/**
 * Counts what a slice holds anew from what is stored. It is what it was, unless the database was damaged, or somebody has changed it by hand.
 *
 * @returns with `wasRight`: whether it was. @throws `not_found`, `conflict` while somebody changes it.
 */
export async function recountSlice(
  app: App,
  actor: Actor,
  nameOrId: string,
): Promise<{ slice: Slice; wasRight: boolean }> {
  requireRole(app, "primary", "recounting a slice");
  const slice = await sliceFor(app, actor, nameOrId);
  const { wasRight } = await recount(app.db, slice);
  return { slice: await sliceFor(app, actor, slice.id), wasRight };
}

/** A slice, and the names of the companies that are subscribed to it. */
export interface Affected {
  slice: Slice;
  companies: string[];
}

/**
 * Removes a slice with its grains and subscriptions. On a secondary the next sync fetches it again, unless its primary has withdrawn it.
 *
 * @param confirm is told what would go, before it does; what it throws keeps it.
 * @returns what is gone.
 * @throws `not_found`, `usage` on a secondary for all but its operator.
 */
export async function deleteSlice(
  app: App,
  actor: Actor,
  nameOrId: string,
  confirm?: (affected: Affected) => Promise<void>,
): Promise<Affected> {
  requirePrimaryUnlessOperator(app, actor, "`slice remove`");
  const slice = await sliceFor(app, actor, nameOrId);
  const subscriptions = await listSubscriptions(app.db, scopeOf(actor), { sliceKey: slice.key });
  const affected = { slice, companies: subscriptions.map(({ companyName }) => companyName) };
  await confirm?.(affected);
  await removeSlice(app.db, slice.key);
  return affected;
}
