/** Directories for tests: in memory where possible, reachable by the uid that PostgreSQL runs as, short enough for a socket. */
import { access, chmod, constants, mkdtemp, readdir, rm, statfs } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { endPostmaster } from "./postmaster.ts";

const wantedBytes = 2 * 2 ** 30;

/** /dev/shm if it can be written to and has room for a cluster, else the system's temporary directory. */
async function fastestDirectory(): Promise<string> {
  const memory = "/dev/shm";
  try {
    await access(memory, constants.W_OK | constants.X_OK);
    const { bavail, bsize } = await statfs(memory);
    if (bavail * bsize >= wantedBytes) return memory;
  } catch {
    // There is no such thing on macOS and in some containers.
  }
  return tmpdir();
}

/** Where a test run keeps everything, so that also what a killed test file leaves behind goes with it. */
export const scratchVariable = "SANDPIPER_TEST_SCRATCH";

/** A new empty directory. As root its mode lets PostgreSQL's user pass, not list. */
export async function makeScratch(): Promise<string> {
  const parent = process.env[scratchVariable];
  // Short names: the path of a socket may have 103 bytes on macOS.
  const directory = await mkdtemp(
    parent === undefined ? join(await fastestDirectory(), "sp-test-") : join(parent, "s-"),
  );
  await chmod(directory, process.getuid?.() === 0 ? 0o711 : 0o700);
  return directory;
}

/** Removes what {@link makeScratch} made, ending the embedded PostgreSQL of every data directory in it. */
export async function removeScratch(directory: string): Promise<void> {
  await endPostmasters(directory, 4);
  await rm(directory, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
}

async function endPostmasters(directory: string, levels: number): Promise<void> {
  await endPostmaster(directory);
  if (levels === 0) return;
  for (const entry of await readdir(directory, { withFileTypes: true }).catch(() => [])) {
    if (entry.isDirectory() && !entry.name.startsWith("postgres"))
      await endPostmasters(join(directory, entry.name), levels - 1);
  }
}

/** A new empty directory that is removed at the end of `test`. */
export async function scratch(test: { teardown(work: () => Promise<void>): unknown }): Promise<string> {
  const directory = await makeScratch();
  test.teardown(() => removeScratch(directory));
  return directory;
}
