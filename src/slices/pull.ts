/**
 * Level-1 files out of the database: `DIR/<slice>/<source>`, each written atomically, and the manifest last. Names come
 * from peers: they are made safe (file-name.ts), and nothing outside DIR is ever written, nor through a link inside it.
 */
import { createHash } from "node:crypto";
import { constants } from "node:fs";
import { lstat, mkdir, open } from "node:fs/promises";
import { resolve, sep } from "node:path";
import { makeDirectories, writeAtomically } from "../atomic-file.ts";
import type { Database, Session } from "../database.ts";
import { SandpiperError } from "../errors.ts";
import { everything } from "../scope.ts";
import { chooseDirectories, lastSegment, safeFileName } from "./file-name.ts";
import { type GrainRow, listGrains } from "./grain-store.ts";
import { openContent } from "./publish.ts";
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
        const file = target.slice(root.length + (root.endsWith(sep) ? 0 : 1)).replaceAll(sep, "/");
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

/** Where the file goes; its directory is made. @throws `storage` for a link, or for anything that is not `root/directory/name`. */
async function prepareTarget(root: string, directory: string, name: string): Promise<string> {
  const parent = resolve(root, directory);
  const target = resolve(parent, name);
  const inner = root.endsWith(sep) ? root : root + sep;
  if (parent !== inner + directory || target !== parent + sep + name)
    throw new SandpiperError("internal", `${target} is not where a file of ${root} belongs`);
  await storage(
    parent,
    mkdir(parent).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "EEXIST") throw error;
    }),
  );
  const there = await storage(parent, lstat(parent));
  if (!there.isDirectory()) {
    const what = there.isSymbolicLink() ? "a symbolic link" : "not a directory";
    throw new SandpiperError("storage", `${parent} is ${what}`, {
      hint: "Move it away: pull makes a directory there.",
    });
  }
  return target;
}

interface Digest {
  bytes: number;
  sha256: string;
}

/** Size and SHA-256 of the file that is there, if one is. */
async function fileDigest(path: string): Promise<Digest | undefined> {
  const there = await lstat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw unusable(path, error);
  });
  if (there === undefined) return undefined;
  if (!there.isFile()) {
    const what = there.isSymbolicLink() ? "a symbolic link" : "not a file";
    throw new SandpiperError("storage", `${path} is ${what}`, { hint: "Move it away: pull writes a file there." });
  }
  const hash = createHash("sha256");
  let bytes = 0;
  const read = async () => {
    const handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
    for await (const piece of handle.createReadStream()) {
      hash.update(piece);
      bytes += piece.length;
    }
  };
  await storage(path, read());
  return { bytes, sha256: hash.digest("hex") };
}

/** The grain's bytes, measured on their way. */
async function* measured(session: Session, grain: GrainRow, maxBytes: number, done: (digest: Digest) => void) {
  const hash = createHash("sha256");
  let bytes = 0;
  for await (const piece of openContent(session, grain)) {
    bytes += piece.length;
    if (bytes > maxBytes) {
      throw new SandpiperError("limit", `the file of grain ${grain.id} is larger than ${maxBytes} bytes`, {
        hint: "Raise limits.max_grain_bytes if that is expected.",
      });
    }
    hash.update(piece);
    yield piece;
  }
  done({ bytes, sha256: hash.digest("hex") });
}

async function contentDigest(session: Session, grain: GrainRow, maxBytes: number): Promise<Digest> {
  let digest: Digest | undefined;
  for await (const _ of measured(session, grain, maxBytes, (d) => (digest = d)));
  return digest!;
}

async function writeContent(session: Session, grain: GrainRow, target: string, maxBytes: number): Promise<Digest> {
  let digest: Digest | undefined;
  await storage(
    target,
    writeAtomically(
      target,
      measured(session, grain, maxBytes, (d) => (digest = d)),
    ),
  );
  return digest!;
}

const changed = (name: string) =>
  new SandpiperError("deferred", `slice ${JSON.stringify(name)} keeps changing`, { hint: "Run again in a while." });

const unusable = (path: string, cause: NodeJS.ErrnoException) =>
  new SandpiperError("storage", `cannot write to ${path}: ${cause.message}`, {
    cause,
    hint: "Check owner, mode and free space, or name another directory.",
  });

/** What the file system refuses is `storage`; our own errors pass. */
async function storage<T>(path: string, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).syscall === undefined) throw error;
    throw unusable(path, error as NodeJS.ErrnoException);
  }
}
