/** What manifest and journal know of a directory when a pull begins, and what they must say once all slices are done. */
import { lstat } from "node:fs/promises";
import { join } from "node:path";
import type { CompanyId, SliceId } from "../ids.ts";
import type { Slice } from "../slices/rules/slice.ts";
import { FileTrouble } from "./file-trouble.ts";
import { type ManifestEntry, withCompanies } from "./pull-manifest.ts";
import type { Fared } from "./pull-slice.ts";
import { isAsWritten } from "./pull-superseded.ts";
import { fileNameKey } from "./rules/file-name.ts";
import { grouped } from "./rules/grouped.ts";
import { type Directory, identity } from "./rules/slice-directory.ts";

/** What a pull ends with. */
export interface Balance {
  /** The new manifest. */
  entries: ManifestEntry[];
  /** For each slice that fared well, the files that were its own before: all that is known of each. */
  superseded: Map<Slice, ManifestEntry[][]>;
  /** What the manifest does not say, and the next pull must know. */
  open: ManifestEntry[];
}

const directoryOf = ({ file }: ManifestEntry): string => file.slice(0, file.indexOf("/"));
const sliceOf = ({ company_id, slice_id }: ManifestEntry): string => identity(company_id, slice_id);
const textOf = ({ companyId, id }: Slice): string => identity(companyId, id);

export class Books {
  readonly #manifest: readonly ManifestEntry[];
  readonly #journal: readonly ManifestEntry[];
  readonly #bySlice: ReadonlyMap<string, ManifestEntry[]>;
  readonly #byDirectory: ReadonlyMap<string, ManifestEntry[]>;
  /** Files of others, for which a slice was kept from its directory. */
  readonly #strangers = new Set<ManifestEntry>();

  /** @param slices all that are here. */
  constructor(
    private readonly root: string,
    slices: readonly Slice[],
    manifest: readonly ManifestEntry[],
    journal: readonly ManifestEntry[],
  ) {
    this.#manifest = withCompanies(manifest, slices);
    this.#journal = withCompanies(journal, slices);
    const all = [...this.#manifest, ...this.#journal];
    this.#bySlice = grouped(all, sliceOf);
    this.#byDirectory = grouped(all, (entry) => fileNameKey(directoryOf(entry)));
  }

  /** The directories that files were written to, with their slices. */
  get claims(): Directory[] {
    return [...this.#manifest, ...this.#journal].flatMap((entry) =>
      entry.company_id === undefined
        ? []
        : [
            {
              name: directoryOf(entry),
              companyId: entry.company_id as CompanyId,
              sliceId: entry.slice_id as SliceId,
            },
          ],
    );
  }

  /** @throws `storage` when a file of another company's slice is where this slice's directory would be. */
  async requireOwn(slice: Slice, directory: string): Promise<void> {
    for (const entry of this.#byDirectory.get(fileNameKey(directory)) ?? []) {
      if (entry.company_id === undefined || entry.company_id === slice.companyId) continue;
      if ((await lstat(join(this.root, entry.file)).catch(() => undefined)) === undefined) continue;
      this.#strangers.add(entry);
      throw new FileTrouble(`${join(this.root, directory)} holds a file of another company's slice ${entry.slice}`, {
        hint: "Move it away, and pull again: files of two companies never share a directory.",
      });
    }
  }

  /**
   * What the manifest is to say, and what else follows from how the slices fared.
   *
   * @param fared how the slices fared that were pulled.
   * @param pruned whether those were all: entries of slices that are gone are dropped then, and their files stay.
   * @param owners whose a directory is now, by the key of its name.
   */
  async balance(fared: readonly Fared[], pruned: boolean, owners: ReadonlyMap<string, Slice>): Promise<Balance> {
    const pulled = new Set(fared.map(({ slice }) => textOf(slice)));
    const others = (entry: ManifestEntry) => !pulled.has(sliceOf(entry));
    const entries = this.#manifest.filter((entry) => (pruned ? this.#strangers.has(entry) : others(entry)));
    const open = pruned ? [] : this.#journal.filter(others);
    for (const one of fared) {
      if ("entry" in one) entries.push(one.entry);
      if (one.outcome !== "failed") continue;
      // It has its old file still.
      const known = this.#bySlice.get(textOf(one.slice)) ?? [];
      const kept = await this.#inPlace(known);
      if (kept !== undefined) entries.push(kept);
      open.push(...known.filter((entry) => entry !== kept));
    }
    const current = new Set(entries.map(({ file }) => file));
    const superseded = new Map<Slice, ManifestEntry[][]>();
    for (const { slice, outcome } of fared) {
      if (outcome === "failed") continue;
      const before = (this.#bySlice.get(textOf(slice)) ?? []).filter((entry) => {
        const owner = owners.get(fileNameKey(directoryOf(entry)));
        return !current.has(entry.file) && (owner === undefined || owner.key === slice.key);
      });
      if (before.length > 0) superseded.set(slice, [...grouped(before, ({ file }) => file).values()]);
    }
    return { entries, superseded, open };
  }

  /** Of what is known of a slice, the last that is true: a pull that was killed has not said in the manifest what it wrote. */
  async #inPlace(known: readonly ManifestEntry[]): Promise<ManifestEntry | undefined> {
    if (known.length > 1)
      for (const entry of [...known].reverse()) if (await isAsWritten(this.root, [entry])) return entry;
    return known[0];
  }
}
