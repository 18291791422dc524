/**
 * Level-1 files out of the database: `DIR/<slice>/<source>`, each written atomically, and the manifest last. Names come
 * from peers: they are made safe (file-name.ts), and nothing outside DIR is ever written, nor through a link inside it.
 */
import { relative, resolve, sep } from "node:path";
import { makeDirectories } from "../atomic-file.ts";
import type { Database } from "../database.ts";
import { SandpiperError } from "../errors.ts";
import { everything } from "../scope.ts";
import { chooseDirectories, lastSegment, safeFileName } from "./file-name.ts";
import { listGrains } from "./grain-store.ts";
import { contentDigest, fileDigest, prepareTarget, storage, writeContent } from "./pull-file.ts";
import { type ManifestEntry, manifestName, readManifest, writeManifest } from "./pull-manifest.ts";
import { levelOneKey, nameKey, type Slice } from "./slice.ts";
import { findSlice, listSlices, readMetadata } from "./slice-store.ts";

/** How a slice fared. */
export type Pulled = { slice: Slice } & (
  | { outcome: "written" | "unchanged"; entry: ManifestEntry }
  /** It is empty, or has level-2 grains. */
  | { outcome: "skipped" }
  | { outcome: "failed"; error: SandpiperError }
);

/**
 * Writes the files of all level-1 slices, or of one, into `directory` (made when missing).
 *
 * @param only the one slice; the manifest then keeps the entries of the others.
 * @param maxFileBytes a larger file is refused with `limit`: a few bytes of gzip can stand for gigabytes.
 * @throws `storage` when the directory cannot be written to. What is wrong with one slice is in its outcome.
 */
export async function pullFiles(
  db: Database,
  directory: string,
  options: { only?: Slice | undefined; maxFileBytes: number },
): Promise<Pulled[]> {
  const root = resolve(directory);
  await storage(root, makeDirectories(root));
  const before = await readManifest(root);
  const { slices } = await listSlices(db, everything);
  const directories = chooseDirectories(slices, [manifestName]);
  const results: Pulled[] = [];
  for (const slice of options.only === undefined ? slices : slices.filter((s) => s.key === options.only!.key)) {
    results.push(await pullSlice(db, root, directories.get(slice.key)!, slice, options.maxFileBytes));
  }
  const names = new Set(slices.map((slice) => nameKey(slice.name)));
  const isOf = (entry: ManifestEntry, slice: Slice) =>
    entry.slice_id === slice.id && (nameKey(entry.slice) === nameKey(slice.name) || !names.has(nameKey(entry.slice)));
  const done = results.filter((result) => result.outcome !== "failed");
  // A slice that failed has its old file still.
  const failed = results.filter((result) => result.outcome === "failed");
  const kept = before.filter((entry) =>
    options.only === undefined
      ? failed.some(({ slice }) => isOf(entry, slice))
      : !done.some(({ slice }) => isOf(entry, slice)),
  );
  const entries = [...kept, ...results.flatMap((result) => ("entry" in result ? [result.entry] : []))];
  await storage(root, writeManifest(root, entries));
  return results;
}

async function pullSlice(
  db: Database,
  root: string,
  directory: string,
  first: Slice,
  maxFileBytes: number,
): Promise<Pulled> {
  let slice = first;
  for (let attempt = 1; ; attempt++) {
    try {
      return await db.session(async (session): Promise<Pulled> => {
        const grains = await listGrains(session, everything, slice.key, { limit: 2, offset: 0 });
        const metadata = await readMetadata(session, slice.key);
        const now = await findSlice(session, everything, slice.name);
        if (now?.key !== slice.key || now.hash !== slice.hash) {
          if (now?.key === slice.key) slice = now;
          throw changed(first.name);
        }
        const [grain] = grains;
        if (grain === undefined || grains.length > 1 || grain.key !== levelOneKey) return { slice, outcome: "skipped" };
        const target = await prepareTarget(root, directory, safeFileName(lastSegment(grain.source), grain.id));
        const found = await fileDigest(target);
        const known = found && (await contentDigest(session, grain, maxFileBytes));
        const same = found !== undefined && found.bytes === known!.bytes && found.sha256 === known!.sha256;
        const { bytes, sha256 } = same ? found : await writeContent(session, grain, target, maxFileBytes);
        const file = relative(root, target).replaceAll(sep, "/");
        const { id: slice_id, hash } = slice;
        const content_date = slice.contentDate?.toISOString() ?? null;
        const about = { slice: slice.name, slice_id, file, bytes, sha256, hash, content_date };
        const entry = { ...about, metadata: Object.fromEntries(metadata) };
        return { slice, outcome: same ? "unchanged" : "written", entry };
      });
    } catch (error) {
      const code = error instanceof SandpiperError ? error.code : undefined;
      if (code === "deferred" && attempt < 3) continue;
      if (code !== "deferred" && code !== "verification" && code !== "limit") throw error;
      return { slice: first, outcome: "failed", error: error as SandpiperError };
    }
  }
}

const changed = (name: string) =>
  new SandpiperError("deferred", `slice ${JSON.stringify(name)} keeps changing`, { hint: "Run again in a while." });
