/**
 * The journal of a pull: `.sandpiper-journal` has a line for each file that was written and that the manifest does not name yet, or no longer.
 * If the pull is killed, the next one learns from it which files are ours, whatever has been published meanwhile.
 */
import { constants } from "node:fs";
import { open, unlink } from "node:fs/promises";
import { join } from "node:path";
import { writeAtomically } from "../atomic-file.ts";
import { type ManifestEntry, parseEntry, readText } from "./pull-manifest.ts";

const lineOf = (entry: ManifestEntry): string => `${JSON.stringify(entry)}\n`;

export class Journal {
  #there: boolean;
  readonly #lines: Set<string>;

  private constructor(
    private readonly path: string,
    /** What an earlier pull left in it. */
    readonly entries: readonly ManifestEntry[],
    there: boolean,
    private readonly owner: string,
  ) {
    this.#there = there;
    this.#lines = new Set(entries.map(lineOf));
  }

  /** @param owner marks the temporary file. @throws `storage` for a link. */
  static async open(directory: string, owner: string): Promise<Journal> {
    const path = join(directory, ".sandpiper-journal");
    const text = await readText(path);
    // The last line of one that was killed may be half a line.
    const entries = (text ?? "").split("\n").flatMap((line) => parseEntry(line) ?? []);
    return new Journal(path, entries, text !== undefined, owner);
  }

  /** Adds entries that are not in it yet, durably. */
  async add(entries: readonly ManifestEntry[]): Promise<void> {
    const lines = entries.map(lineOf).filter((line) => !this.#lines.has(line));
    if (lines.length === 0) return;
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_APPEND | constants.O_NOFOLLOW;
    const handle = await open(this.path, flags);
    try {
      this.#there = true;
      // Begins a line of its own, whatever half a line is there.
      await handle.writeFile(`\n${lines.join("")}`);
      await handle.sync();
      for (const line of lines) this.#lines.add(line);
    } finally {
      await handle.close();
    }
  }

  /** The manifest is written, and these entries are all that it does not say. */
  async settle(left: readonly ManifestEntry[]): Promise<void> {
    if (left.length > 0) await writeAtomically(this.path, left.map(lineOf), { owner: this.owner });
    else if (this.#there) await unlink(this.path);
  }
}
