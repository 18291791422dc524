/** Connections that say nothing, and requests that were meant for somebody else. */
import { once } from "node:events";
import net from "node:net";
import t from "tap";
import { sendRaw, serverOf, statusOf } from "./support.ts";

t.test("an address that holds many silent connections gets no more; others do", async (t) => {
  const server = await serverOf(t, "primary");
  const connect = async (localAddress: string) => {
    const socket = net.connect({ port: server.port, host: "127.0.0.1", localAddress });
    socket.on("error", () => {});
    socket.resume();
    await once(socket, "connect");
    return socket;
  };
  const sockets: net.Socket[] = [];
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
  });
  for (let n = 0; n < 1000; n++) sockets.push(await connect("127.0.0.1"));
  const begun = performance.now();
  const other = await connect("127.0.0.2");
  other.end("GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  const [answer] = (await once(other, "data")) as [Buffer];
  t.equal(statusOf(answer.toString()), 200, "another address is served");
  t.ok(performance.now() - begun < 1000);
  const talking = await Promise.all(Array.from({ length: 300 }, () => server.get("/healthz")));
  t.ok(
    talking.every(({ status }) => status === 200),
    "and so is whoever speaks, from the same one",
  );
  await new Promise((resolve) => setTimeout(resolve, 1200));
  t.equal(sockets.filter((socket) => !socket.closed).length, 256, "of the silent ones few are left");
  t.equal(server.log().match(/server\.too_many_silent/g)?.length, 1, "said once");
});

t.test("a Host that is not ours", async (t) => {
  const server = await serverOf(t, "primary", { settings: { SANDPIPER_SERVER_NAMES: "Parts.example.com, b.example" } });
  const ask = async (host: string, path = "/healthz", more = "") =>
    statusOf(await sendRaw(server, `GET ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n${more}\r\n`));
  for (const host of [
    "parts.example.com",
    "PARTS.example.com:443",
    "b.example.",
    "127.0.0.1:1",
    "[::1]:80",
    "localhost",
  ])
    t.equal(await ask(host), 200, host);
  for (const host of [
    "evil.example",
    "parts.example.com.evil.example",
    "127.0.0.1.evil.example:8080",
    "[evil.example]",
    "a b.c",
    "x@b.example",
  ])
    t.equal(await ask(host), 421, host);
  const any = await serverOf(t, "primary");
  t.equal(
    statusOf(await sendRaw(any, "GET /healthz HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n")),
    200,
  );
});
