/** The data directory: its paths, who may use them, and what is kept in it of the embedded PostgreSQL. */
import { constants } from "node:fs";
import { chmod, mkdir, open, readdir, rm, rmdir, stat } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { makeDirectories } from "../../atomic-file.ts";
import { SandpiperError } from "../../errors.ts";
import { type Account, unreachable } from "./binaries.ts";

export const port = 5432;

/** The paths of one data directory. */
export interface Layout {
  dataDir: string;
  cluster: string;
  socketDir: string;
  startLog: string;
}

/** The paths of a data directory; refuses one that PostgreSQL cannot work in. */
export function layoutOf(directory: string): Layout {
  const dataDir = resolve(directory);
  // PostgreSQL's own programs pass paths through a shell within double quotes.
  if (/["$`\\\n]/.test(dataDir)) {
    throw new SandpiperError("config", `PostgreSQL cannot work in a data directory of this name: ${dataDir}`, {
      hint: 'Choose a --data without any of " $ ` \\ in its path.',
    });
  }
  const socketDir = join(dataDir, "socket");
  // The kernel's limit (sun_path), less the closing zero.
  const limit = process.platform === "darwin" ? 103 : 107;
  const length = Buffer.byteLength(join(socketDir, `.s.PGSQL.${port}`));
  if (length > limit) {
    throw new SandpiperError("config", `The path of the data directory is too long for a socket: ${dataDir}`, {
      hint: `Choose a shorter --data, by at least ${length - limit} bytes.`,
    });
  }
  return { dataDir, cluster: join(dataDir, "postgres"), socketDir, startLog: join(dataDir, "postgres-start.log") };
}

/** True when a cluster was created in the data directory; it appears there complete or not at all. */
export async function clusterExists(dataDir: string): Promise<boolean> {
  const { cluster } = layoutOf(dataDir);
  try {
    return (await readdir(cluster)).includes("PG_VERSION");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR") return false;
    // Another user's: it is there, and accountFor says whose.
    if (code === "EACCES" && (await stat(cluster).catch(() => undefined))) return true;
    throw new SandpiperError("config", `The data directory ${dataDir} cannot be read.`, {
      cause: error,
      hint: "Run sandpiper as the user that created it, or choose another --data.",
    });
  }
}

/** Makes the data directory where needed, and sees to it that the server's user gets there. @returns the topmost directory that was made. */
export async function makeDataDir(dataDir: string, account: Account | undefined): Promise<string | undefined> {
  let first: string | undefined;
  try {
    first = await makeDirectories(dataDir);
    if (first !== undefined) {
      // Ours, whatever the umask: nobody lists it, and only as root another user passes through.
      await chmod(dataDir, account === undefined ? 0o700 : 0o711);
      for (let at = dirname(dataDir); at.length >= first.length; at = dirname(at)) await chmod(at, 0o755);
    }
    await closeToOthers(dataDir, 0o755);
    if (account === undefined) return first;
    const { uid, mode } = await stat(dataDir);
    // The directory itself was made for sandpiper: to let the server pass (not list) is no surprise, as it would be above.
    if (uid === 0 && (mode & 0o001) === 0) await chmod(dataDir, (mode & 0o777) | 0o011);
  } catch (cause) {
    throw new SandpiperError("config", `The data directory ${dataDir} cannot be used.`, {
      cause,
      hint: "Choose a --data that you may write to.",
    });
  }
  const blocked = await unreachable(dataDir, account);
  if (blocked === undefined) return first;
  await removeDataDir(dataDir, first);
  throw new SandpiperError(
    "config",
    `PostgreSQL does not run as root, and uid ${account.uid} cannot pass ${blocked}.`,
    {
      hint: "Choose a data directory that every user can reach, e.g. --data /var/lib/sandpiper, or do not run as root.",
    },
  );
}

/** Undoes {@link makeDataDir}, and what `prepareBinaries` left there, unless another process keeps something in the directory. */
export async function removeDataDir(dataDir: string, first: string | undefined): Promise<void> {
  if (first === undefined) return;
  const names = await readdir(dataDir);
  if (!names.every((name) => /^postgres-(lib$|bin-)/.test(name))) return;
  for (const name of names) await rm(join(dataDir, name), { recursive: true, force: true });
  for (let at = dataDir; at.length >= first.length; at = dirname(at)) await rmdir(at).catch(() => {});
}

/** A private directory of the server's user. Through a handle, so that a link put there gives nothing else away. */
export async function makeOwned(path: string, account: Account | undefined): Promise<void> {
  await mkdir(path, { recursive: true, mode: 0o700 });
  const handle = await open(path, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
  try {
    await handle.chmod(0o700);
    if (account !== undefined) await handle.chown(account.uid, account.gid);
  } finally {
    await handle.close();
  }
}

/**
 * Takes from everybody else what `most` does not let them do with a directory of ours: whoever mounts the disk may have given it to
 * them (Kubernetes does, to the group that it calls fsGroup), and then PostgreSQL refuses to start. A link, and what is not ours, is left alone.
 */
export async function closeToOthers(path: string, most: number): Promise<void> {
  const flags = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;
  const handle = await open(path, flags).catch((error: NodeJS.ErrnoException) => {
    if (["ELOOP", "ENOTDIR", "EACCES"].includes(error.code ?? "")) return undefined;
    throw error;
  });
  if (handle === undefined) return;
  try {
    const { mode, uid } = await handle.stat();
    const us = process.getuid?.() ?? uid;
    if ((mode & 0o777 & ~most) !== 0 && (us === 0 || us === uid)) await handle.chmod(mode & most);
  } finally {
    await handle.close();
  }
}

/** What a killed `init` left behind; an hour old, so that one at work is left alone. */
export async function removeAbandoned(dataDir: string): Promise<void> {
  for (const name of await readdir(dataDir)) {
    const path = join(dataDir, name);
    if (!/^postgres-(new-|bin-.*\.new-)/.test(name)) continue;
    const found = await stat(path).catch(() => undefined); // its maker may be removing it
    if (found && Date.now() - found.mtimeMs > 3_600_000) await rm(path, { recursive: true, force: true });
  }
}

export async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path, constants.O_RDONLY);
  await handle.sync().finally(() => handle.close());
}

/** Does the work in the data directory; what the file system refuses there becomes an error for the operator. */
export async function guarded<T>(dataDir: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    if (cause instanceof SandpiperError || (cause as NodeJS.ErrnoException).syscall === undefined) throw cause;
    throw new SandpiperError("storage", `The data directory ${dataDir} cannot be used: ${(cause as Error).message}`, {
      cause,
      hint: "Make sure that sandpiper may write there, that the disk has space and, as root, that it may change the owner of files.",
    });
  }
}
