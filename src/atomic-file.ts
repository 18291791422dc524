/** Files that appear complete or not at all: a temporary file beside the target, fsync, then rename or link. */
import { randomBytes } from "node:crypto";
import { constants } from "node:fs";
import { link, lstat, mkdir, open, readdir, rename, stat, unlink } from "node:fs/promises";
import { dirname, join } from "node:path";

/** What a killed writer leaves behind: its owner, if it had one, then chance. */
const temporaryName = /^\.sandpiper-([0-9a-f]{8})[0-9a-f]{8}\.tmp$/;
/** A temporary file that has not grown for so long is nobody's any more. */
const abandonedMs = 3_600_000;

/**
 * Writes `content` to `path` atomically and durably. A symbolic link at `path` is replaced, never followed.
 *
 * @param owner 8 hex digits, by which {@link sweepTemporaries} knows the temporary file.
 * @param exclusive fails with EEXIST when something is there, instead of replacing it.
 * @throws the error of the file system, or of `content`; nothing is left behind then.
 */
export async function writeAtomically(
  path: string,
  content: Iterable<Uint8Array | string> | AsyncIterable<Uint8Array | string>,
  options: { mode?: number; exclusive?: boolean; owner?: string } = {},
): Promise<void> {
  const directory = dirname(path);
  const owner = options.owner ?? randomBytes(4).toString("hex");
  const temporary = join(directory, `.sandpiper-${owner}${randomBytes(4).toString("hex")}.tmp`);
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
  const handle = await open(temporary, flags, options.mode ?? 0o666);
  try {
    try {
      for await (const piece of content) await handle.writeFile(piece);
      await handle.sync();
    } finally {
      await handle.close();
    }
    // A rename would replace what another process put there meanwhile; a link does not.
    if (options.exclusive) await link(temporary, path);
    else await rename(temporary, path);
  } catch (error) {
    await unlink(temporary).catch(() => {});
    throw error;
  }
  if (options.exclusive) await unlink(temporary);
  await syncDirectory(directory);
}

/**
 * Removes the temporary files of writers that were killed: at once those of `owner`, which the caller knows to be nobody's now; any other
 * when it has been left alone for an hour. What cannot be looked at or removed stays: it is in nobody's way but that of space.
 */
export async function sweepTemporaries(directory: string, owner?: string): Promise<void> {
  for (const name of await readdir(directory).catch(() => [])) {
    const match = temporaryName.exec(name);
    if (match === null) continue;
    const path = join(directory, name);
    const found = await lstat(path).catch(() => undefined);
    if (!found?.isFile()) continue;
    if (match[1] === owner || Date.now() - found.mtimeMs > abandonedMs) await unlink(path).catch(() => {});
  }
}

/** Makes a directory, and those above it. One that is there is fine. @returns the topmost that was made, if any. */
export async function makeDirectories(path: string): Promise<string | undefined> {
  // Not mkdir's own `recursive`: in Node 20 it never ends where a parent exists that takes no children (/proc).
  const make = () =>
    mkdir(path).then(
      () => path,
      async (error: NodeJS.ErrnoException) => {
        if (error.code !== "EEXIST" || !(await stat(path)).isDirectory()) throw error;
        return undefined;
      },
    );
  try {
    return await make();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT" || path === dirname(path)) throw error;
    const above = await makeDirectories(dirname(path));
    const made = await make();
    return above ?? made;
  }
}

/** Makes the names in a directory durable. */
async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path, constants.O_RDONLY);
  await handle.sync().finally(() => handle.close());
}
