/** One slice of a `pull`: its level-1 file is written, if it is not there already. */
import { relative, sep } from "node:path";
import type { Session } from "../database/database.ts";
import { everything } from "../database/scope.ts";
import { SandpiperError } from "../errors.ts";
import { listGrains } from "../slices/grain-store.ts";
import { levelOneKey, type Slice } from "../slices/rules/slice.ts";
import { findSlice, readMetadata } from "../slices/slice-store.ts";
import { FileTrouble } from "./file-trouble.ts";
import { contentDigest, type Digest, fileDigest, type Listing, prepareTarget, writeContent } from "./pull-file.ts";
import type { ManifestEntry } from "./pull-manifest.ts";
import { lastSegment, safeFileName } from "./rules/file-name.ts";

/** How a slice fared. */
export type Fared = { slice: Slice } & (
  | { outcome: "written" | "unchanged"; entry: ManifestEntry }
  /** It is empty, or has level-2 grains. */
  | { outcome: "skipped" }
  | { outcome: "failed"; error: SandpiperError }
);

export interface Place {
  root: string;
  /** Of `root`. */
  listing: Listing;
  /** Of the slice. */
  directory: string;
  maxFileBytes: number;
  /** Marks temporary files. */
  owner: string;
  /** @throws `storage` when there is something of another company's in the directory. */
  requireOwn(): Promise<void>;
  /** Is told of each file before it gets its name. */
  note(entry: ManifestEntry): Promise<void>;
}

/** Writes the slice's file. What is wrong with it alone is in the outcome; @throws whatever is wrong with more than that. */
export async function pullSlice(session: Session, first: Slice, place: Place): Promise<Fared> {
  let slice = first;
  for (let attempt = 1; ; attempt++) {
    try {
      const grains = await listGrains(session, everything, slice.key, { limit: 2, offset: 0 });
      const metadata = await readMetadata(session, slice.key);
      const now = await findSlice(session, everything, slice.name);
      if (now?.key !== slice.key || now.hash !== slice.hash) {
        if (now?.key === slice.key) slice = now;
        throw changed(first.name);
      }
      const [grain] = grains;
      if (grain === undefined || grains.length > 1 || grain.key !== levelOneKey) return { slice, outcome: "skipped" };
      const { root, directory, listing, maxFileBytes: maxBytes, owner } = place;
      await place.requireOwn();
      const name = safeFileName(lastSegment(grain.source), grain.id);
      const target = await prepareTarget(root, directory, name, listing);
      const about = {
        slice: slice.name,
        slice_id: slice.id,
        company_id: slice.companyId,
        file: relative(root, target).replaceAll(sep, "/"),
        hash: slice.hash,
        content_date: slice.contentDate?.toISOString() ?? null,
        metadata: Object.fromEntries(metadata),
      };
      const entryOf = ({ bytes, sha256 }: Digest): ManifestEntry => ({ ...about, bytes, sha256 });
      const found = await fileDigest(target);
      const known = found && (await contentDigest(session, grain, maxBytes));
      if (found !== undefined && found.bytes === known!.bytes && found.sha256 === known!.sha256)
        return { slice, outcome: "unchanged", entry: entryOf(found) };
      let entry: ManifestEntry | undefined;
      await writeContent(session, grain, target, {
        maxBytes,
        owner,
        beforePlace: async (digest) => {
          entry = entryOf(digest);
          await place.note(entry);
        },
      });
      return { slice, outcome: "written", entry: entry! };
    } catch (error) {
      const code = error instanceof SandpiperError ? error.code : undefined;
      if (code === "deferred" && attempt < 3) continue;
      if (code !== "deferred" && code !== "verification" && code !== "limit" && !(error instanceof FileTrouble))
        throw error;
      return { slice: first, outcome: "failed", error: error as SandpiperError };
    }
  }
}

const changed = (name: string) =>
  new SandpiperError("deferred", `slice ${JSON.stringify(name)} keeps changing`, { hint: "Run again in a while." });
