/** Connections that say nothing or not all, or are kept; and requests that were meant for somebody else. */
import { once } from "node:events";
import net from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import t, { type Test } from "tap";
import { sendRaw, serverOf, statusOf, type TestServer } from "../support.ts";

t.setTimeout(180_000);

/** Connections to the server, which go with the test. */
function connections(t: Test, server: TestServer) {
  const sockets: net.Socket[] = [];
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
  });
  const connect = async (localAddress = "127.0.0.1") => {
    const socket = net.connect({ port: server.port, host: "127.0.0.1", localAddress });
    socket.on("error", () => {});
    socket.resume();
    await once(socket, "connect");
    sockets.push(socket);
    return socket;
  };
  return { connect, open: () => sockets.filter((socket) => !socket.closed).length };
}

/** What the server says of an address that had too many, once all of them are gone. */
async function account(server: TestServer, open: () => number) {
  for (let n = 0; n < 600 && open() > 0; n++) await sleep(100);
  await sleep(100);
  const lines = server
    .log()
    .split("\n")
    .filter((text) => text.includes("server.silent_gone"))
    .map(
      (text) => JSON.parse(text) as { peer: string; most: number; closed: number; closed_ms: number; held_ms: number },
    );
  return {
    peers: [...new Set(lines.map(({ peer }) => peer))],
    most: Math.max(...lines.map(({ most }) => most)),
    closed: lines.reduce((sum, { closed }) => sum + closed, 0),
    closedMs: Math.max(...lines.map(({ closed_ms }) => closed_ms)),
    heldMs: Math.max(...lines.map(({ held_ms }) => held_ms)),
  };
}

t.test("an address that holds many silent connections gets no more; others do", async (t) => {
  const server = await serverOf(t, "primary");
  const { connect, open } = connections(t, server);
  for (let n = 0; n < 10; n++) await Promise.all(Array.from({ length: 100 }, () => connect()));
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
  const said = await account(server, open);
  t.match(said, { peers: ["127.0.0.1"], closed: 744 }, "of the silent ones 256 are left");
  t.equal(server.log().match(/server\.too_many_silent/g)?.length, 1, "said once");
  t.ok(said.most > 256 && said.most <= 1301, `${said.most}`);
  t.ok(said.closedMs >= 900 && said.heldMs >= 9000, "by the server's own clock");
});

t.test("bodies that never come: few are held, and not for long", async (t) => {
  const server = await serverOf(t, "primary");
  const { connect, open } = connections(t, server);
  const head = "POST /login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n";
  const come = async () => (await connect("127.0.0.2")).write(head);
  for (let n = 0; n < 15; n++) await Promise.all(Array.from({ length: 100 }, come));
  t.equal((await server.post("/login", undefined, { username: "x" })).status, 401, "another address is served");
  const said = await account(server, open);
  t.equal(open(), 0);
  t.same(said.peers, ["127.0.0.2"]);
  t.ok(said.closed >= 500, `${said.closed} were closed for being too many`);
  t.ok(said.heldMs >= 4900 && said.heldMs < 9000, `the others after ${said.heldMs} ms`);
  const large = `POST /login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9000\r\n\r\n`;
  t.equal(statusOf(await sendRaw(server, large)), 413, "a login has a few KB");
});

t.test("connections that are kept: so many of an address, and no more", async (t) => {
  const server = await serverOf(t, "primary", { settings: { SANDPIPER_SERVER_TRUSTED_PROXIES: "127.0.0.9" } });
  const { connect, open } = connections(t, server);
  const ask = async (from: string) => {
    const socket = await connect(from);
    socket.write("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
    const [answer] = (await once(socket, "data")) as [Buffer];
    return /\r\nConnection: (\S+)\r\n/i.exec(answer.toString())?.[1];
  };
  const told: (string | undefined)[] = [];
  for (let n = 0; n < 300; n++) told.push(await ask("127.0.0.1"));
  t.same([told[255], told[256], told[299]], ["keep-alive", "close", "close"]);
  await sleep(300);
  t.equal(open(), 256);
  t.equal(await ask("127.0.0.2"), "keep-alive", "another address");
  for (let n = 0; n < 300; n++) await ask("127.0.0.9");
  t.equal(await ask("127.0.0.9"), "keep-alive", "a proxy of ours has as many as it likes");
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
