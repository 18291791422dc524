/** `sandpiper-manifest.json`: what `pull` put into a directory, so that programs need not guess from file names. */
import { constants } from "node:fs";
import { lstat, open } from "node:fs/promises";
import { join } from "node:path";
import * as z from "zod";
import { writeAtomically } from "../atomic-file.ts";
import { SandpiperError } from "../errors.ts";
import { nameKey } from "../names.ts";
import type { Slice } from "../slices/rules/slice.ts";

export const manifestName = "sandpiper-manifest.json";

const entry = z.object({
  slice: z.string(),
  slice_id: z.string(),
  /** Whose slice it is; earlier programs did not say. */
  company_id: z.string().optional(),
  /** Relative to the directory of the manifest: a directory, `/`, and a name, neither hidden. */
  file: z.string().regex(/^[^./\\\0][^/\\\0]*\/[^./\\\0][^/\\\0]*$/),
  /** Size and SHA-256 of the file. */
  bytes: z.number(),
  sha256: z.string(),
  /** Hash of the slice. */
  hash: z.string(),
  content_date: z.string().nullable(),
  metadata: z.record(z.string(), z.string()),
});

export type ManifestEntry = z.infer<typeof entry>;

/** One entry from text, or undefined for what is none. */
export function parseEntry(text: string): ManifestEntry | undefined {
  try {
    return entry.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}

/** The manifest of a directory; empty when there is none. @throws `storage` when it is not one of ours. */
export async function readManifest(directory: string): Promise<ManifestEntry[]> {
  const path = join(directory, manifestName);
  const text = await readText(path);
  if (text === undefined) return [];
  try {
    return z.array(entry).parse(JSON.parse(text));
  } catch (cause) {
    throw new SandpiperError("storage", `${path} is not a manifest that sandpiper wrote`, {
      cause,
      hint: "Move it away, and pull again.",
    });
  }
}

/** The text of a file of ours, if it is there. @throws `storage` for a link. */
export async function readText(path: string): Promise<string | undefined> {
  try {
    const handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
    return await handle.readFile("utf8").finally(() => handle.close());
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    if (code === "ENOENT") return undefined;
    const link = code === "ELOOP" || (await lstat(path).catch(() => undefined))?.isSymbolicLink();
    throw new SandpiperError("storage", link ? `${path} is a symbolic link` : `cannot read ${path}: ${message}`, {
      cause,
      hint: link ? "Remove the link: pull does not follow it." : "Check its owner and mode.",
    });
  }
}

/** Writes the manifest, in order of file, unless it is there exactly so. @param owner marks the temporary file. */
export async function writeManifest(
  directory: string,
  entries: readonly ManifestEntry[],
  owner: string,
): Promise<void> {
  const sorted = [...entries].sort((a, b) => (a.file < b.file ? -1 : 1));
  const text = `${JSON.stringify(sorted, null, 2)}\n`;
  const path = join(directory, manifestName);
  if ((await readText(path)) === text) return;
  await writeAtomically(path, [text], { owner });
}

/** The same entries, each saying whose slice it is about, if that is here: for those that do not say, by its name and id. */
export function withCompanies(entries: readonly ManifestEntry[], slices: readonly Slice[]): ManifestEntry[] {
  const text = (name: string, id: string) => `${id} ${nameKey(name)}`;
  const companies = new Map(slices.map((slice) => [text(slice.name, slice.id), slice.companyId]));
  return entries.map((entry) => ({
    ...entry,
    company_id: entry.company_id ?? companies.get(text(entry.slice, entry.slice_id)),
  }));
}
