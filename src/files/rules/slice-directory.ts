/** Which directory a slice's file goes to: one of its own for good, on any file system. Pure. */

import type { CompanyId, SliceId, SliceKey } from "../../ids.ts";
import { nameKey } from "../../names.ts";
import type { Slice } from "../../slices/rules/slice.ts";
import { fileNameKey, safeFileName, withSuffix } from "./file-name.ts";

/** A directory, and the slice that it belongs to, which need not be here any more. */
export interface Directory {
  name: string;
  companyId: CompanyId;
  sliceId: SliceId;
}

type Named = Pick<Slice, "key" | "companyId" | "id" | "name">;

/** What a slice is known by when it is not here: the company that chose its id, and the id. */
export const identity = (companyId: string | undefined, sliceId: string): string => `${companyId} ${sliceId}`;

/**
 * A directory for each slice, no two the same on any file system. A slice keeps the one that it has, whatever it is called now. A new
 * slice gets its name, unless that is a directory already: then its id goes with it. Only a slice of the same company
 * may take over the directory of one that is gone.
 *
 * @param remembered what was chosen before; what comes later in the list is heeded as far as what comes earlier allows it.
 * @param reserved names that no slice may have.
 */
export function chooseDirectories(
  slices: readonly Named[],
  remembered: readonly Directory[],
  reserved: readonly string[],
): Map<SliceKey, string> {
  const here = new Map(slices.map((slice) => [identity(slice.companyId, slice.id), slice]));
  const owners = new Map<string, Directory | undefined>(reserved.map((name) => [fileNameKey(name), undefined]));
  const directories = new Map<SliceKey, string>();
  const take = (directory: Directory) => {
    owners.set(fileNameKey(directory.name), directory);
    const slice = here.get(identity(directory.companyId, directory.sliceId));
    if (slice !== undefined) directories.set(slice.key, directory.name);
  };
  for (const directory of remembered) {
    const slice = here.get(identity(directory.companyId, directory.sliceId));
    const has = slice !== undefined && directories.has(slice.key);
    if (!has && !owners.has(fileNameKey(directory.name))) take(directory);
  }
  const mayHave = (slice: Named, name: string): boolean => {
    const key = fileNameKey(name);
    const owner = owners.get(key);
    if (owner === undefined) return !owners.has(key);
    return owner.companyId === slice.companyId && !here.has(identity(owner.companyId, owner.sliceId));
  };
  const without = slices.filter((slice) => !directories.has(slice.key));
  for (const slice of without.sort((a, b) => Number(isExact(b)) - Number(isExact(a)) || a.key - b.key)) {
    const bare = safeFileName(slice.name, slice.id);
    let name = bare;
    if (!mayHave(slice, name)) name = withSuffix(bare, slice.id);
    // Slices of two companies may have the same id.
    for (let n = 2; !mayHave(slice, name); n++) name = withSuffix(bare, `${slice.id}-${n}`);
    take({ name, companyId: slice.companyId, sliceId: slice.id });
  }
  return directories;
}

/** Whether a file system sees the slice's very name: it goes before one that only comes to look like it. */
const isExact = (slice: Named): boolean => fileNameKey(safeFileName(slice.name, slice.id)) === nameKey(slice.name);
