/** Files that `pull` wrote and that no slice has any more: they are removed, unless somebody has altered them. */
import { lstat, unlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import { storage } from "./file-trouble.ts";
import { fileDigest } from "./pull-file.ts";
import type { ManifestEntry } from "./pull-manifest.ts";

/** What became of one. */
export interface Superseded {
  /** Relative to the directory that is pulled to. */
  file: string;
  /** It was altered since it was written, and stays. */
  outcome: "removed" | "altered";
}

const found = (path: string) => lstat(path).catch(() => undefined);

/** Whether the file of one of these entries, which are about one path, is there as it was written. No link is followed. */
export async function isAsWritten(root: string, entries: readonly ManifestEntry[]): Promise<boolean> {
  const path = join(root, entries[0]!.file);
  if (!(await found(dirname(path)))?.isDirectory()) return false;
  const there = await found(path);
  const alike = entries.filter(({ bytes }) => bytes === there?.size);
  if (!there?.isFile() || alike.length === 0) return false;
  const digest = await fileDigest(path);
  return alike.some(({ sha256 }) => sha256 === digest?.sha256);
}

/**
 * Removes one, if it is as it was written.
 *
 * @param entries all that is known of its path.
 * @param current the file that took its place, which a file system may see under both names.
 * @returns undefined when there is nothing.
 */
export async function removeSuperseded(
  root: string,
  entries: readonly ManifestEntry[],
  current: string | undefined,
): Promise<Superseded | undefined> {
  const { file } = entries[0]!;
  const path = join(root, file);
  if (!(await found(dirname(path)))?.isDirectory()) return undefined;
  const there = await found(path);
  if (there === undefined) return undefined;
  const other = current === undefined ? undefined : await found(join(root, current));
  if (other?.ino === there.ino && other.dev === there.dev) return undefined;
  if (!(await isAsWritten(root, entries))) return { file, outcome: "altered" };
  await storage(path, unlink(path));
  return { file, outcome: "removed" };
}
