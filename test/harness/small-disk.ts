/** File systems that are soon full. */
import { execFileSync } from "node:child_process";
import { mkdirSync } from "node:fs";

/** Mounts one of `size` (`64k`), until the end of `test`. @returns undefined where that takes more rights. */
export function mountSmall(
  test: { teardown(work: () => Promise<void>): unknown },
  path: string,
  size: string,
): { resize(size: string): void } | undefined {
  mkdirSync(path);
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", `size=${size}`, "tmpfs", path], { stdio: "ignore" });
  } catch {
    return undefined;
  }
  test.teardown(async () => void execFileSync("umount", ["-l", path]));
  return {
    resize: (to) => void execFileSync("mount", ["-o", `remount,size=${to}`, path]),
  };
}
