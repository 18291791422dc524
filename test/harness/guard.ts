/** Run as a process: waits until standard input ends, which it does even when the owner was killed -9, and then cleans up. */
import { removeScratch } from "./scratch.ts";

const directory = process.argv[2];
if (directory === undefined || !/\/(sp-test|s)-[A-Za-z0-9]{6}$/.test(directory))
  throw new Error("usage: guard SCRATCH");
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => {});
process.stdin.resume();
process.stdin.on("close", () => void removeScratch(directory));
