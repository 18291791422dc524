/** Processes that a test file has left behind, because it was killed itself. Found by the run's random id in their environment. */
import { readdir, readFile } from "node:fs/promises";

/** The variable that every process of a run inherits. */
export const runVariable = "SANDPIPER_TEST_RUN";

/** Ends what is left of the run, and says what it was. Where there is no /proc (macOS), nothing is found. */
export async function endRun(runId: string): Promise<string[]> {
  const ended: string[] = [];
  const mark = `${runVariable}=${runId}\0`;
  for (const pid of await readdir("/proc").catch(() => [])) {
    if (!/^\d+$/.test(pid) || Number(pid) === process.pid) continue;
    const environment = await readFile(`/proc/${pid}/environ`, "latin1").catch(() => "");
    if (!environment.includes(mark)) continue;
    const command = await readFile(`/proc/${pid}/cmdline`, "latin1").catch(() => "");
    try {
      process.kill(Number(pid), "SIGKILL");
      ended.push(`${pid} ${command.split("\0").slice(0, 3).join(" ")}`);
    } catch {
      // It ended meanwhile.
    }
  }
  return ended;
}
