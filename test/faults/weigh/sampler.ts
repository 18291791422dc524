/**
 * Looks at processes from a process of its own, every few milliseconds: how long `/healthz` takes to be answered, and how much memory they
 * take. The parent (scales.ts) sends whom to look at, and is sent every sample. Linux alone tells as much of a process.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { get } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { clockMs, gone, type Sample, type Subject } from "./sample.ts";

const everyMs = 25;
const patienceMs = 60_000;

const read = (path: string): string => {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
};

/** How long the first thread of a process was ready to run and had no core, since it began. */
const waitedMs = (pid: number): number => Number(read(`/proc/${pid}/task/${pid}/schedstat`).split(" ")[1] ?? 0) / 1e6;

const megabytes = (status: string, what: string): number =>
  Number(new RegExp(`^${what}:\\s+(\\d+) kB`, "m").exec(status)?.[1] ?? 0) / 1024;

/** Whether `/healthz` says that all is well. Asked from an address of its own, whatever others at 127.0.0.1 are refused. */
const isWell = (url: string): Promise<boolean> =>
  new Promise((resolve) => {
    const options = { agent: false, localAddress: "127.0.0.9", timeout: patienceMs };
    const request = get(`${url}/healthz`, options, (response) => {
      response.resume().once("close", () => resolve(response.statusCode === 200));
    });
    request.once("timeout", () => request.destroy());
    request.once("error", () => resolve(false));
  });

async function sample({ name, pid, url }: Subject): Promise<Sample> {
  const waits = () => waitedMs(pid) + waitedMs(process.pid);
  const [begunMs, before] = [clockMs(), waits()];
  const well = await isWell(url);
  const endedMs = clockMs();
  const lateMs = well ? Math.max(0, endedMs - begunMs - (waits() - before)) : Number.MAX_VALUE;
  const status = read(`/proc/${pid}/status`);
  try {
    writeFileSync(`/proc/${pid}/clear_refs`, "5"); // its peak begins anew
  } catch {} // it has ended
  return { name, begunMs, endedMs, lateMs, peakMb: megabytes(status, "VmHWM"), residentMb: megabytes(status, "VmRSS") };
}

let ending = false;
const watches: Promise<void>[] = [];

async function watch(subject: Subject): Promise<void> {
  while (!ending) {
    process.send!(await sample(subject));
    if (read(`/proc/${subject.pid}/status`) === "") {
      process.send!(gone(subject.name));
      return;
    }
    await sleep(everyMs);
  }
}

process.on("message", async (subject: Subject | "end") => {
  if (subject !== "end") {
    watches.push(watch(subject));
    return;
  }
  ending = true;
  await Promise.all(watches);
  process.disconnect();
});
// The parent may be gone already.
process.on("disconnect", () => process.exit(0));
if (!process.connected) process.exit(0);
