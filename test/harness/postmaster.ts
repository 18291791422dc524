/** Ends the embedded PostgreSQL of a data directory that a test made, when the process that should stop it is gone. */
import { readFile, readlink, realpath } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

/** The pid of the server that runs on `<dataDir>/postgres`; undefined when none does. */
async function postmasterPid(dataDir: string): Promise<number | undefined> {
  const cluster = join(dataDir, "postgres");
  const text = await readFile(join(cluster, "postmaster.pid"), "utf8").catch(() => "");
  const pid = Number.parseInt(text, 10);
  if (!(pid > 1) || !isAlive(pid)) return undefined;
  // The file outlives a kill -9, and its pid may be somebody else's by now: a postmaster stands in its own cluster.
  const standsIn = await readlink(`/proc/${pid}/cwd`).catch(() => undefined);
  if (standsIn !== undefined && standsIn !== (await realpath(cluster).catch(() => cluster))) return undefined;
  return pid;
}

/** Stops that server at once, without a checkpoint, and waits until it is gone. */
export async function endPostmaster(dataDir: string): Promise<void> {
  const pid = await postmasterPid(dataDir);
  if (pid === undefined) return;
  send(pid, "SIGQUIT");
  for (let waited = 0; isAlive(pid); waited += 20) {
    if (waited === 5000) send(pid, "SIGKILL");
    if (waited > 10_000) return;
    await sleep(20);
  }
}

/** Whether the process is there and no zombie (whose parent has yet to ask for it, perhaps never, in a container). */
function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It went by itself.
  }
}
