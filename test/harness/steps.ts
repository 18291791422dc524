/** Waiting for a step of a process that was started with SP_FP_LOG (failpoint.ts). */
import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";

/** Waits until the process that writes `log` has reached `place` ("s.tx.insert 1"). @throws if it does not come to that within 60 s. */
export async function stepReached(log: string, place: string): Promise<void> {
  const deadline = performance.now() + 60_000;
  while (!(await readFile(log, "utf8").catch(() => "")).includes(`${place}\n`)) {
    if (performance.now() > deadline) throw new Error(`${place} was not reached`);
    await sleep(10);
  }
}
