/** Files that appear complete or not at all: a temporary file beside the target, fsync, then rename or link. */
import { randomBytes } from "node:crypto";
import { constants } from "node:fs";
import { link, mkdir, open, rename, stat, unlink } from "node:fs/promises";
import { dirname, join } from "node:path";

/**
 * Writes `content` to `path` atomically and durably. A symbolic link at `path` is replaced, never followed.
 *
 * @param exclusive fails with EEXIST when something is there, instead of replacing it.
 * @throws the error of the file system, or of `content`; nothing is left behind then.
 */
export async function writeAtomically(
  path: string,
  content: Iterable<Uint8Array | string> | AsyncIterable<Uint8Array | string>,
  options: { mode?: number; exclusive?: boolean } = {},
): Promise<void> {
  const directory = dirname(path);
  const temporary = join(directory, `.sandpiper-${randomBytes(8).toString("hex")}.tmp`);
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
