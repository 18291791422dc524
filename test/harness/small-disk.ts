/** A disk of its own for a test: a file system in memory of the size that it asks for. */
import { execFileSync } from "node:child_process";
import { mkdirSync, statfsSync } from "node:fs";
import { join } from "node:path";
import { scratch } from "./scratch.ts";

/** Why a test that needs one may be skipped. */
export const noSmallDisk = "a small file system cannot be mounted here, which takes root";

type Teardown = { teardown(work: () => Promise<void>): unknown };

/** Mounts one of `size` (`64k`) at `path`, until the end of `test`. @returns undefined where that takes more rights. */
export function mountSmall(test: Teardown, path: string, size: string): { resize(size: string): void } | undefined {
  mkdirSync(path);
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", `size=${size},mode=755`, "tmpfs", path], { stdio: "ignore" });
  } catch {
    return undefined;
  }
  test.teardown(async () => void execFileSync("umount", ["-l", path]));
  return { resize: (to) => void execFileSync("mount", ["-o", `remount,size=${to}`, path]) };
}

/** @returns where it is mounted, until the end of `test`; undefined where that takes more rights. */
export async function smallDisk(test: Teardown, megabytes: number): Promise<string | undefined> {
  const mount = join(await scratch(test), "d");
  return mountSmall(test, mount, `${megabytes}m`) && mount;
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
