/** Two channels over a real websocket: heartbeats, back-pressure, and peers that say or take nothing. */
import { createServer } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import t, { type Test } from "tap";
import { WebSocket, WebSocketServer } from "ws";
import { Channel, socketOptions } from "../../../src/sync/transport/channel.ts";
import { opcodes, wireFrame } from "../../faults/websocket-wire.ts";

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;
const largest = 2 ** 20;

/** Both ends of a websocket on loopback. */
async function pair(t: Test): Promise<{ server: WebSocket; client: WebSocket }> {
  const http = createServer().listen(0, "127.0.0.1");
  const sockets = new WebSocketServer({ ...socketOptions(largest), server: http });
  const accepted = new Promise<WebSocket>((resolve) => sockets.once("connection", resolve));
  await new Promise((resolve) => http.once("listening", resolve));
  const client = new WebSocket(`ws://127.0.0.1:${(http.address() as AddressInfo).port}`, socketOptions(largest));
  client.on("error", () => {});
  const server = await accepted;
  if (client.readyState !== WebSocket.OPEN) await new Promise((resolve) => client.once("open", resolve));
  t.teardown(() => {
    client.terminate();
    server.terminate();
    http.close();
  });
  return { server, client };
}

t.test("pings go both ways while both are busy", async (t) => {
  const { server, client } = await pair(t);
  const pings = { server: 0, client: 0 };
  server.on("ping", () => pings.server++);
  client.on("ping", () => pings.client++);
  const options = { idleMs: 400, peer: "the peer" };
  const [one, other] = [new Channel(server, options), new Channel(client, options)];
  const until = performance.now() + 2000;
  let passed = 0;
  const sends = async () => {
    while (performance.now() < until) await one.send(Buffer.alloc(64 * 1024));
    await one.send("end");
  };
  const receives = async () => {
    // It reads, but says nothing of its own: only pings tell that it is there.
    while (!("text" in (await other.receive(1000)))) passed++;
  };
  await Promise.all([sends(), receives()]);
  t.ok(passed > 100, `${passed} messages passed`);
  t.ok(pings.server >= 5, `${pings.server} pings came to the sender`);
  t.ok(pings.client >= 5, `${pings.client} pings came to the receiver`);
  await one.close(1000);
  await other.closed;
});

t.test("a peer that pings but takes nothing is given up after idleMs", async (t) => {
  const { server, client } = await pair(t);
  const channel = new Channel(server, { idleMs: 1000, peer: "the partner" });
  client.pause();
  const pinging = setInterval(() => client.ping(), 100);
  t.teardown(() => clearInterval(pinging));
  const started = performance.now();
  const sends = async () => {
    for (;;) await channel.send(Buffer.alloc(1 << 20));
  };
  const sending = sends();
  sending.catch(() => {});
  await sleep(500);
  t.equal(channel.blocked, true);
  await t.rejects(sending, { code: "timeout", message: "the partner accepted nothing for 1 seconds" });
  const took = performance.now() - started;
  t.ok(took > 900 && took < 4000, `after ${Math.round(took)} ms`);
  await channel.close(4408);
});

t.test("a peer that takes a little all the time is not", async (t) => {
  const { server, client } = await pair(t);
  const channel = new Channel(server, { idleMs: 1500, peer: "the partner" });
  const wire = (client as unknown as { _socket: Socket })._socket;
  // Loopback has large buffers: a reader that takes 64 KiB every 20 ms needs seconds for what follows.
  let received = 0;
  client.on("message", (data: Buffer) => {
    received += data.length;
  });
  wire.on("data", () => {
    wire.pause();
    setTimeout(() => wire.resume(), 20);
  });
  const pinging = setInterval(() => client.ping(), 100);
  t.teardown(() => clearInterval(pinging));
  const started = performance.now();
  for (let n = 0; n < 16; n++) await channel.send(Buffer.alloc(1 << 20));
  while (received < 16 << 20) await sleep(50);
  t.ok(performance.now() - started > 3000, "it took its time");
  await channel.close(1000);
});

t.test("a channel that is blocked closes at once", async (t) => {
  const { server, client } = await pair(t);
  const channel = new Channel(server, { idleMs: 60_000, peer: "the partner" });
  client.pause();
  const sends = async () => {
    for (;;) await channel.send(Buffer.alloc(1 << 20));
  };
  const sending = sends();
  sending.catch(() => {});
  while (!channel.blocked) await sleep(20);
  const started = performance.now();
  await channel.close(4401);
  t.ok(performance.now() - started < 1500);
  await t.rejects(sending, { code: "network" });
});

/** Writes `bytes` again and again below the websocket, as long as they are taken: until there was nothing to be had for `patienceMs`. */
async function pour(wire: Socket, bytes: Buffer, most: number, patienceMs = 300): Promise<number> {
  let written = 0;
  while (written < most) {
    written += bytes.length;
    if (wire.write(bytes)) continue;
    const drained = new Promise<boolean>((resolve) => wire.once("drain", () => resolve(true)));
    if (!(await Promise.race([drained, sleep(patienceMs, false)]))) break;
  }
  return written;
}

const wireOf = (socket: WebSocket) => (socket as unknown as { _socket: Socket })._socket;

for (const [what, message, wireBytes] of [
  ["empty messages", wireFrame(opcodes.text), 6],
  ["empty frames", wireFrame(opcodes.binary), 6],
  ["messages of a byte", wireFrame(opcodes.text, "x"), 7],
  // Of 60 KB that are read at once, one byte is a message.
  [
    "single bytes among pongs",
    Buffer.concat([wireFrame(opcodes.text, "x"), ...Array.from({ length: 500 }, () => wireFrame(10, "x".repeat(112)))]),
    59_007,
  ],
] as const) {
  t.test(`${what} that nobody takes do not pile up`, async (t) => {
    const { server, client } = await pair(t);
    const channel = new Channel(server, { idleMs: 60_000, peer: "the partner" });
    t.equal(message.length, wireBytes);
    const most = 51_000_000;
    const piece = Buffer.concat(Array.from({ length: Math.ceil(65_536 / message.length) }, () => message));
    const before = held();
    await pour(wireOf(client), piece, most);
    const taken = wireOf(server).bytesRead;
    const grown = held() - before;
    // What the client has written and the system has not taken is not the server's.
    const own = grown - wireOf(client).writableLength;
    t.ok(own < 4_000_000, `${own} bytes are held of ${taken} that came`);
    if (message.length < 10) t.ok(taken < 200_000, `${taken} bytes were read`);
    t.equal("text" in (await channel.receive(1000)) ? "text" : "binary", message[0] === 0x81 ? "text" : "binary");
    server.terminate();
    await channel.closed;
  });
}

t.test("small messages that the peer does not take make the sender wait", async (t) => {
  const { server, client } = await pair(t);
  const channel = new Channel(server, { idleMs: 60_000, peer: "the partner" });
  client.pause();
  // The buffers of the system are filled first, and little more.
  while (server.bufferedAmount === 0) await channel.send(Buffer.alloc(1 << 14));
  let sent = 0;
  const sends = async () => {
    for (;;) {
      await channel.send("x");
      sent++;
    }
  };
  const sending = sends();
  sending.catch(() => {});
  for (let i = 0; i < 20 && !channel.blocked; i++) await sleep(50);
  const waits = channel.blocked;
  t.ok(waits, "it waits");
  t.ok(sent > 100 && sent < 2000, `after ${sent} messages of a byte`);
  await channel.close(4401);
  await t.rejects(sending, { code: "network" });
});

t.test("a peer that sends a message byte by byte is cut off before that costs much", async (t) => {
  const { server, client } = await pair(t);
  const channel = new Channel(server, { idleMs: 60_000, peer: "the partner" });
  const receiving = channel.receive(30_000);
  receiving.catch(() => {});
  const wire = wireOf(client);
  wire.setNoDelay(true);
  wire.write(wireFrame(opcodes.binary, "", { length: BigInt(largest) }));
  // Each in a packet of its own, as far as that can be had.
  for (let i = 0; i < 100_000 && !wire.destroyed; i++)
    await new Promise<void>((resolve) => wire.write("x", () => setImmediate(resolve)));
  await t.rejects(receiving, { code: "protocol", message: /Too many buffered chunks/ });
  await channel.close(1008);
});

/** Bytes that this process holds, when what is garbage is gone. */
function held(): number {
  collectGarbage();
  const { heapUsed, external, arrayBuffers } = process.memoryUsage();
  return heapUsed + external + arrayBuffers;
}
