/** The program with limits so small that what is rare becomes common. Everything else of it is unchanged. */
import { type PatchedCopy, patchedCopy } from "../harness/patched-copy.ts";

/** By file: what stands there, and what instead. */
const limits: Record<string, [from: string, to: string][]> = {
  "src/slices/rules/slice.js": [["chunkBytes = 1024 * 1024", "chunkBytes = 256"]],
  "src/sync/protocol/frames.js": [
    ["firstCells = 128", "firstCells = 8"],
    ["usualBodyBytes = chunkBytes / 4", "usualBodyBytes = chunkBytes"],
  ],
  "src/sync/transport/compression.js": [
    ["leastBytes = 512", "leastBytes = 64"],
    ["firstPause = 15", "firstPause = 2"],
  ],
  "src/sync/protocol/check-difference.js": [["before > 100", "before > 5"]],
  "src/sync/primary/slice-cache.js": [["keptCells = 4096", "keptCells = 16"]],
  "src/sync/primary/primary-store.js": [["listPage = 100_000", "listPage = 4"]],
  "src/sync/protocol/find-difference.js": [["largeListBytes = 24 * 1024 * 1024", "largeListBytes = 64"]],
  "src/sync/secondary/arrivals.js": [["heldBytes = 64 * 1024", "heldBytes = 200"]],
  "src/sync/secondary/secondary-adapter.js": [["settledAtOnce = 100", "settledAtOnce = 2"]],
  "src/sync/secondary/apply.js": [["deleteBatch = 10_000", "deleteBatch = 3"]],
};

export type Edits = Record<string, [from: string, to: string][]>;

/** @param more further changes: faults that are planted. @throws when one does not find what it changes. */
export function smallLimits(more: Edits = {}): PatchedCopy {
  const files = new Set([...Object.keys(limits), ...Object.keys(more)]);
  return patchedCopy(
    Object.fromEntries(
      [...files].map((file) => [
        file,
        (text: string) =>
          [...(limits[file] ?? []), ...(more[file] ?? [])].reduce((changed, [from, to]) => {
            if (!changed.includes(from)) throw new Error(`${file} does not hold: ${from}`);
            return changed.replace(from, () => to);
          }, text),
      ]),
    ),
  );
}
