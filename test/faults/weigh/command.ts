/** What a command takes: its memory at most, until it has ended. */
import { readFileSync } from "node:fs";
import type { Outcome, Running } from "../../harness/process.ts";

const everyMs = 20;

const peakMb = (pid: number): number => {
  try {
    return Number(/^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) / 1024;
  } catch {
    return 0; // it has ended
  }
};

/** Waits for its end. A command that takes longer than `withinMs` is killed, and its exit code is null. */
export async function weighCommand(running: Running, withinMs: number): Promise<Outcome & { peakMb: number }> {
  let most = 0;
  const look = setInterval(() => {
    most = Math.max(most, peakMb(running.pid));
  }, everyMs);
  const late = setTimeout(() => running.kill("SIGKILL"), withinMs);
  const exit = await running.exited;
  clearInterval(look);
  clearTimeout(late);
  return { ...exit, stdout: running.stdout(), stderr: running.stderr(), peakMb: most };
}
