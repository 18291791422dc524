/**
 * Level-1 files out of the database: `DIR/<directory>/<source>`, each written atomically, then the manifest; at last the files that were
 * superseded go. Names come from peers: they are made safe (file-name.ts), a directory is one slice's for good (slice-directory.ts), and nothing
 * outside DIR is ever written or removed, nor through a link inside it.
 */
import { lstat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { makeDirectories, sweepTemporaries } from "../atomic-file.ts";
import type { Database, Session } from "../database/database.ts";
import { everything } from "../database/scope.ts";
import type { CompanyId, SliceKey } from "../ids.ts";
import type { Slice } from "../slices/rules/slice.ts";
import { listSlices } from "../slices/slice-store.ts";
import { step } from "../step.ts";
import { settleDirectories } from "./directory-store.ts";
import { FileTrouble, storage } from "./file-trouble.ts";
import { Books } from "./pull-books.ts";
import { Listing } from "./pull-file.ts";
import { Journal } from "./pull-journal.ts";
import { withDirectoryLock } from "./pull-lock.ts";
import { type ManifestEntry, manifestName, readManifest, writeManifest } from "./pull-manifest.ts";
import { type Fared, pullSlice } from "./pull-slice.ts";
import { removeSuperseded, type Superseded } from "./pull-superseded.ts";
import { fileNameKey } from "./rules/file-name.ts";
import { inTurns } from "./rules/pull-turns.ts";

/** How a slice fared, and the files that were its own before. */
export type Pulled = Fared & { superseded: Superseded[] };

export interface PullOptions {
  /** The one slice; files and entries of the others stay. */
  only?: Slice | undefined;
  /** A larger file is refused with `limit`: a few bytes of gzip can stand for gigabytes. */
  maxFileBytes: number;
  /** Whose database this is: temporary files carry it. */
  serverId: string;
  /** Is told who else pulls into the directory, when that is waited for. */
  onWait(holder: string): void;
}

/**
 * Writes the files of all level-1 slices, or of one, into `directory` (made when missing), and removes those of ours that they
 * take the place of.
 *
 * @throws `storage` when the directory cannot be written to, `busy` when another pull has it for an hour. What is wrong with one slice is in its
 *   outcome.
 */
export async function pullFiles(db: Database, directory: string, options: PullOptions): Promise<Pulled[]> {
  const root = resolve(directory);
  await storage(root, makeDirectories(root));
  return db.session((session) =>
    withDirectoryLock(session, root, options.onWait, () => pullInto(session, root, options)),
  );
}

async function pullInto(session: Session, root: string, options: PullOptions): Promise<Pulled[]> {
  step("f.begin");
  const { only, maxFileBytes } = options;
  const owner = options.serverId.slice(0, 8);
  const journal = await Journal.open(root, owner);
  const { slices } = await listSlices(session, everything);
  const books = new Books(root, slices, await readManifest(root), journal.entries);
  const directories = await settleDirectories(session, slices, books.claims, [manifestName]);
  const chosen = only === undefined ? slices : slices.filter((slice) => slice.key === only.key);
  await sweep(
    root,
    owner,
    chosen.map((slice) => directories.get(slice.key)!),
  );

  const fared = new Map<SliceKey, Fared>();
  const taken = new Map<CompanyId, number>();
  const listing = new Listing(root);
  for (const slice of inTurns(chosen, (company) => taken.get(company) ?? 0)) {
    const directory = directories.get(slice.key)!;
    const requireOwn = () => books.requireOwn(slice, directory);
    const note = (entry: ManifestEntry) => journal.add([entry]);
    const one = await pullSlice(session, slice, { root, listing, directory, maxFileBytes, owner, requireOwn, note });
    fared.set(slice.key, one);
    if (one.outcome === "written") taken.set(slice.companyId, (taken.get(slice.companyId) ?? 0) + one.entry.bytes);
  }

  const owners = new Map(slices.map((slice) => [fileNameKey(directories.get(slice.key)!), slice]));
  const inOrder = chosen.map((slice) => fared.get(slice.key)!);
  const { entries, superseded, open } = await books.balance(inOrder, only === undefined, owners);
  // Once the manifest is written, nothing else would know of these.
  await storage(root, journal.add([...superseded.values()].flat(2)));
  step("f.manifest");
  await storage(root, writeManifest(root, entries, owner));
  const results: Pulled[] = [];
  for (const one of inOrder) results.push(await removeOld(root, one, superseded.get(one.slice) ?? [], open));
  step("f.end");
  await storage(root, journal.settle(open));
  return results;
}

/** Removes temporary files that killed pulls left: as long as we have the lock, no other pull of this database is at work here. */
async function sweep(root: string, owner: string, directories: readonly string[]): Promise<void> {
  await sweepTemporaries(root, owner);
  for (const directory of directories) {
    const path = join(root, directory);
    if ((await lstat(path).catch(() => undefined))?.isDirectory()) await sweepTemporaries(path, owner);
  }
}

/** @param open is told of those that could not be removed. */
async function removeOld(
  root: string,
  fared: Fared,
  superseded: readonly ManifestEntry[][],
  open: ManifestEntry[],
): Promise<Pulled> {
  const gone: Superseded[] = [];
  let trouble: FileTrouble | undefined;
  for (const entries of superseded) {
    step("f.remove");
    try {
      const one = await removeSuperseded(root, entries, "entry" in fared ? fared.entry.file : undefined);
      if (one !== undefined) gone.push(one);
    } catch (error) {
      if (!(error instanceof FileTrouble)) throw error;
      trouble = error;
      open.push(...entries);
    }
  }
  if (trouble !== undefined) return { slice: fared.slice, outcome: "failed", error: trouble, superseded: gone };
  return { ...fared, superseded: gone };
}
