/** One file that `pull` writes: where it may go, what is there, and how the grain's bytes get there. */
import { createHash } from "node:crypto";
import { constants } from "node:fs";
import { lstat, mkdir, open } from "node:fs/promises";
import { resolve, sep } from "node:path";
import { writeAtomically } from "../atomic-file.ts";
import type { Session } from "../database.ts";
import { SandpiperError } from "../errors.ts";
import type { GrainRow } from "./grain-store.ts";
import { openContent } from "./publish.ts";

/** Where the file goes; its directory is made. @throws `storage` for a link in its way, `internal` for anything that is not `root/directory/name`. */
export async function prepareTarget(root: string, directory: string, name: string): Promise<string> {
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
export async function fileDigest(path: string): Promise<Digest | undefined> {
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

/** Size and SHA-256 of the file that a grain stands for. */
export async function contentDigest(session: Session, grain: GrainRow, maxBytes: number): Promise<Digest> {
  let digest: Digest | undefined;
  for await (const _ of measured(session, grain, maxBytes, (d) => (digest = d)));
  return digest!;
}

/** Writes the file that a grain stands for to `target`, atomically. */
export async function writeContent(
  session: Session,
  grain: GrainRow,
  target: string,
  maxBytes: number,
): Promise<Digest> {
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

const unusable = (path: string, cause: NodeJS.ErrnoException) =>
  new SandpiperError("storage", `cannot write to ${path}: ${cause.message}`, {
    cause,
    hint: "Check owner, mode and free space, or name another directory.",
  });

/** What the file system refuses is `storage`; our own errors pass. */
export async function storage<T>(path: string, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).syscall === undefined) throw error;
    throw unusable(path, error as NodeJS.ErrnoException);
  }
}
