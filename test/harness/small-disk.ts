/** A disk of its own for a test: a file system in memory of the size that it asks for. */
import { execFileSync } from "node:child_process";
import { mkdirSync, statfsSync } from "node:fs";
import { join } from "node:path";
import { scratch } from "./scratch.ts";

/** Why a test that needs one may be skipped. */
export const noSmallDisk = "a small file system cannot be mounted here, which takes root";

/** @returns where it is mounted, until the end of `test`; undefined where that takes more rights. */
export async function smallDisk(
  test: { teardown(work: () => Promise<void>): unknown },
  megabytes: number,
): Promise<string | undefined> {
  const mount = join(await scratch(test), "d");
  mkdirSync(mount);
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", `size=${megabytes}m,mode=755`, "tmpfs", mount], { stdio: "ignore" });
  } catch {
    return undefined;
  }
  test.teardown(async () => void execFileSync("umount", ["-l", mount]));
  return mount;
}

/** Gives it another size. */
export function resize(mount: string, megabytes: number): void {
  execFileSync("mount", ["-o", `remount,size=${megabytes}m`, mount]);
}

/** Bytes that are free on it. */
export function freeOn(path: string): number {
  const { bavail, bsize } = statfsSync(path);
  return bavail * bsize;
}
