/** Two channels over a real websocket: heartbeats, back-pressure, and peers that say or take nothing. */
import { createServer } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import t, { type Test } from "tap";
import { WebSocket, WebSocketServer } from "ws";
import { Channel, socketOptions } from "../../src/sync/channel.ts";

/** Both ends of a websocket on loopback. */
async function pair(t: Test): Promise<{ server: WebSocket; client: WebSocket }> {
  const http = createServer().listen(0, "127.0.0.1");
  const sockets = new WebSocketServer({ ...socketOptions, server: http });
  const accepted = new Promise<WebSocket>((resolve) => sockets.once("connection", resolve));
  await new Promise((resolve) => http.once("listening", resolve));
  const client = new WebSocket(`ws://127.0.0.1:${(http.address() as AddressInfo).port}`, socketOptions);
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
  await t.rejects(sending, { code: "timeout", message: "the partner took nothing for 1 seconds" });
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
