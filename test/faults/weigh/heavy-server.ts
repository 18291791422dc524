/** A server that is as heavy as it is asked to be, to weigh the scales. Prints where it listens. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

// Whoever started it may be gone before it is ready.
process.on("disconnect", () => process.exit());
if (!process.connected) process.exit();

/** Takes the thread for so much time of a core, however long that takes on this machine. */
function work(ms: number): void {
  const begun = process.cpuUsage();
  const spentMs = () => {
    const { user, system } = process.cpuUsage(begun);
    return (user + system) / 1000;
  };
  while (spentMs() < ms);
}

/** Does nothing with the thread for so long, and lets nobody else have it. */
const freeze = (ms: number) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);

const server = createServer((request, response) => {
  const [, what, amount] = /^\/(\w+)\/?(\d*)/.exec(request.url!)!;
  if (what === "work") work(Number(amount));
  if (what === "freeze") freeze(Number(amount));
  if (what === "take") Buffer.alloc(Number(amount) * 2 ** 20, 1);
  response.end("{}");
});
server.listen(0, "127.0.0.1", () => console.log(`http://127.0.0.1:${(server.address() as AddressInfo).port}`));
