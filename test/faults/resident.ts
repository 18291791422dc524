/** What a server weighs. */
import { readFile } from "node:fs/promises";
import type { Party } from "../integration/parties.ts";

/** Memory of a server, as Linux tells it. */
export async function residentMb({ server }: Party): Promise<number> {
  const status = await readFile(`/proc/${server!.pid}/status`, "utf8").catch(() => "");
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) / 1024;
}
