/** A file system of a few megabytes, which takes root to mount. */
import { execFileSync } from "node:child_process";
import { mkdirSync } from "node:fs";

/** Mounts one at `path`, which is made. @returns what unmounts it, or undefined where that takes more rights. */
export function mountSmallDisk(path: string, megabytes: number): (() => void) | undefined {
  mkdirSync(path);
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", `size=${megabytes}m`, "tmpfs", path], { stdio: "ignore" });
  } catch {
    return undefined;
  }
  return () => execFileSync("umount", ["-l", path]);
}
