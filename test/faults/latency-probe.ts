/** A thread of its own that asks an address again and again, so that what else its process does is not measured. Ends when it is told anything. */
import http from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { parentPort, workerData } from "node:worker_threads";

const url = workerData as string;
let asking = true;
parentPort!.once("message", () => {
  asking = false;
});

/** What was seen of it. */
export interface Latency {
  /** Milliseconds that each answer took; infinity for one that is not 200, or none. */
  taken: number[];
  failures: string[];
}

const seen: Latency = { taken: [], failures: [] };

function ask(): Promise<number> {
  const begun = performance.now();
  return new Promise((resolve) => {
    const fail = (why: unknown) => {
      seen.failures.push(`${why} after ${Math.round(performance.now() - begun)} ms`);
      resolve(Number.POSITIVE_INFINITY);
    };
    const request = http.get(url, { agent: false }, (response) => {
      response.resume();
      const { statusCode } = response;
      response.once("end", () => (statusCode === 200 ? resolve(performance.now() - begun) : fail(statusCode)));
    });
    request.once("error", fail);
    request.setTimeout(10_000, () => request.destroy(new Error("no answer")));
  });
}

while (asking) {
  seen.taken.push(await ask());
  await sleep(20);
}
parentPort!.postMessage(seen);
