/** The program with limits so small that what is rare becomes common. Everything else of it is unchanged. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { GuardName } from "../../src/sync/protocol/guards.ts";
import { type PatchedCopy, patchedCopy } from "../harness/patched-copy.ts";
import { projectRoot } from "../harness/project-root.ts";

type Line = readonly [from: string, to: string];

/** What is different in a copy of the program. */
export interface Edits {
  /** What stands in one file of it, whichever, and what instead. */
  readonly lines?: readonly Line[];
  /** Guards of the protocol that let everything pass. */
  readonly off?: readonly GuardName[];
}

const limits: readonly Line[] = [
  ["chunkBytes = 1024 * 1024", "chunkBytes = 256"],
  ["firstCells = 128", "firstCells = 8"],
  ["usualBodyBytes = chunkBytes / 4", "usualBodyBytes = chunkBytes"],
  ["leastBytes = 512", "leastBytes = 64"],
  ["firstPause = 15", "firstPause = 2"],
  ["before > 100", "before > 5"],
  ["keptCells = 4096", "keptCells = 16"],
  ["bytesOfGrain = 6", "bytesOfGrain = 60"],
  ["listPage = 100_000", "listPage = 4"],
  ["largeListBytes = 24 * 1024 * 1024", "largeListBytes = 64"],
  ["heldBytes = 64 * 1024", "heldBytes = 200"],
  ["settledAtOnce = 100", "settledAtOnce = 2"],
  ["deleteBatch = 10_000", "deleteBatch = 3"],
];

let sources: ReadonlyMap<string, string> | undefined;

/** The compiled program and its simulation. */
function compiled(): ReadonlyMap<string, string> {
  sources ??= new Map(
    ["src", "test/sim"].flatMap((place) =>
      readdirSync(join(projectRoot, "dist", place), { recursive: true, encoding: "utf8" })
        .filter((name) => name.endsWith(".js") && name !== "mutants.js" && name !== "small-limits.js")
        // tsc leaves compiled files behind whose sources were removed or renamed.
        .filter((name) => existsSync(join(projectRoot, place, name.replace(/\.js$/, ".ts"))))
        .map((name): [string, string] => [
          `${place}/${name}`,
          readFileSync(join(projectRoot, "dist", place, name), "utf8"),
        ]),
    ),
  );
  return sources;
}

/** The one file that holds the text. @throws when there is none, or more. */
export function fileWith(text: string): string {
  const files = [...compiled()].filter(([, source]) => source.includes(text)).map(([name]) => name);
  if (files.length !== 1) throw new Error(`${files.length} files hold: ${text} ${files.join(" ")}`);
  return files[0]!;
}

/** @param more further changes: faults that are planted. @throws when one does not find what it changes. */
export function smallLimits({ lines = [], off = [] }: Edits = {}): PatchedCopy {
  const silent: Line = ["let watch;", `let watch = (guard) => !${JSON.stringify(off)}.includes(guard);`];
  const files = new Map<string, Line[]>();
  for (const line of [...limits, ...lines, ...(off.length === 0 ? [] : [silent])]) {
    const file = fileWith(line[0]);
    files.set(file, [...(files.get(file) ?? []), line]);
  }
  const apply = (text: string, lines: readonly Line[]) =>
    lines.reduce((changed, [from, to]) => changed.replace(from, () => to), text);
  return patchedCopy(
    Object.fromEntries([...files].map(([file, lines]) => [file, (text: string) => apply(text, lines)])),
  );
}
