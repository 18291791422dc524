/** One file that `pull` writes: where it may go, what is there, and how the grain's bytes get there. */
import { createHash } from "node:crypto";
import { constants } from "node:fs";
import { lstat, mkdir, open, readdir } from "node:fs/promises";
import { dirname, resolve, sep } from "node:path";
import { writeAtomically } from "../atomic-file.ts";
import type { Session } from "../database/database.ts";
import { SandpiperError } from "../errors.ts";
import { openContent } from "../slices/file-content.ts";
import type { GrainRow } from "../slices/grain-store.ts";
import { step } from "../step.ts";
import { FileTrouble, storage } from "./file-trouble.ts";
import { asRoomPermits } from "./free-space.ts";
import { fileNameKey } from "./rules/file-name.ts";

/** The names in a directory, read when one is asked for that was not among them. */
export class Listing {
  readonly #keys = new Set<string>();

  constructor(
    private readonly directory: string,
    private readonly read: (path: string) => Promise<string[]> = readdir,
  ) {}

  /** Whether something goes by this name, and does not only answer to it (short names, characters that are ignored). */
  async has(name: string): Promise<boolean> {
    const key = fileNameKey(name);
    if (!this.#keys.has(key))
      for (const one of await storage(this.directory, this.read(this.directory))) this.#keys.add(fileNameKey(one));
    return this.#keys.has(key);
  }
}

/**
 * Where the file goes; its directory is made.
 *
 * @param listing of `root`.
 * @throws `storage` for a link, for anything that is not `root/directory/name`, and where the file system takes the directory for one of
 *   another name.
 */
export async function prepareTarget(root: string, directory: string, name: string, listing: Listing): Promise<string> {
  const parent = resolve(root, directory);
  const target = resolve(parent, name);
  const inner = root.endsWith(sep) ? root : root + sep;
  if (parent !== inner + directory || target !== parent + sep + name)
    throw new SandpiperError("internal", `${target} is not where a file of ${root} belongs`);
  const made = await storage(
    parent,
    mkdir(parent).then(
      () => true,
      (error: NodeJS.ErrnoException) => {
        if (error.code !== "EEXIST") throw error;
        return false;
      },
    ),
  );
  const there = await storage(parent, lstat(parent));
  if (!there.isDirectory()) {
    const what = there.isSymbolicLink() ? "a symbolic link" : "not a directory";
    throw new FileTrouble(`${parent} is ${what}`, { hint: "Move it away: pull makes a directory there." });
  }
  if (!made && !(await listing.has(directory))) {
    throw new FileTrouble(`the file system takes ${parent} to be a directory with another name`, {
      hint: "Pull to a file system that can tell them apart, or ask the primary to rename the slice.",
    });
  }
  return target;
}

export interface Digest {
  bytes: number;
  sha256: string;
}

/** Size and SHA-256 of the file that is there, if one is. */
export async function fileDigest(path: string): Promise<Digest | undefined> {
  const there = await storage(
    path,
    lstat(path).catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return undefined;
      throw error;
    }),
  );
  if (there === undefined) return undefined;
  if (!there.isFile()) {
    const what = there.isSymbolicLink() ? "a symbolic link" : "not a file";
    throw new FileTrouble(`${path} is ${what}`, { hint: "Move it away: pull writes a file there." });
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

/** The grain's bytes, measured on their way. @param done is waited for behind the last of them. */
async function* measured(
  session: Session,
  grain: GrainRow,
  maxBytes: number,
  done: (digest: Digest) => unknown,
): AsyncGenerator<Buffer> {
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
  await done({ bytes, sha256: hash.digest("hex") });
}

/** Size and SHA-256 of the file that a grain stands for. */
export async function contentDigest(session: Session, grain: GrainRow, maxBytes: number): Promise<Digest> {
  let digest: Digest | undefined;
  for await (const _ of measured(session, grain, maxBytes, (d) => (digest = d)));
  return digest!;
}

/**
 * Writes the file that a grain stands for to `target`, atomically, as far as the free space permits.
 *
 * @param owner marks the temporary file (see `sweepTemporaries`).
 * @param beforePlace is called when all is written, before it gets its name.
 */
export async function writeContent(
  session: Session,
  grain: GrainRow,
  target: string,
  options: { maxBytes: number; owner: string; beforePlace: (digest: Digest) => Promise<void> },
): Promise<void> {
  const content = measured(session, grain, options.maxBytes, options.beforePlace);
  const pieces = stepping(asRoomPermits(dirname(target), content, grain.bytes));
  await storage(target, writeAtomically(target, pieces, { owner: options.owner }));
  step("f.written");
}

async function* stepping(pieces: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  for await (const piece of pieces) {
    step("f.write");
    yield piece;
  }
  step("f.place");
}
