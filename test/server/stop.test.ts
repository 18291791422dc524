/** Starting where it cannot, stopping in order, and a database that is gone. */
import { once } from "node:events";
import http from "node:http";
import net from "node:net";
import type { Duplex } from "node:stream";
import t from "tap";
import { startDaemon } from "../../src/daemon/daemon.ts";
import { cast, sendRaw, serverOf, sliceWithGrains, statusOf } from "./support.ts";

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

t.test("a port that cannot be had", async (t) => {
  const server = await serverOf(t, "primary");
  const at = (changed: object) => {
    const config = { ...server.app.config, server: { ...server.app.config.server, ...changed } };
    return startDaemon({ ...server.app, config });
  };
  await t.rejects(at({ port: server.port }), { code: "usage", message: /in use/, hint: /--server\.port/ });
  await t.rejects(at({ host: "192.0.2.1" }), { code: "usage", message: /not an address/, hint: /--server\.host/ });
});

t.test("stopping lets what runs finish, and takes nothing new", async (t) => {
  const server = await serverOf(t, "primary");
  const who = await cast(server);
  const slice = await sliceWithGrains(server, who.admin, "Running");
  const running = http.request(`${server.url}/slices/${slice}/batch`, {
    method: "POST",
    headers: { authorization: `Bearer ${who.admin}`, "content-type": "application/x-ndjson" },
  });
  running.write('{"add": {"grain_key": "x", "encoding": "raw", "payload": ""}}\n');
  await pause(300);
  const stopped = server.stop();
  t.equal(server.stop(), stopped, "twice is harmless");
  const refused = await server.get("/slices", who.admin);
  t.match(refused, { status: 503, json: { code: "unavailable" } });
  t.ok(refused.headers.get("retry-after"));
  t.equal(refused.headers.get("connection"), "close");
  t.equal((await server.get("/v1/readyz")).status, 503);
  t.equal((await server.get("/healthz")).status, 200, "alive until the end");
  running.end('{"add": {"grain_key": "y", "encoding": "raw", "payload": ""}}\n');
  const [response] = (await once(running, "response")) as [http.IncomingMessage];
  t.equal(response.statusCode, 200);
  response.resume();
  const begun = Date.now();
  await stopped;
  t.ok(Date.now() - begun < 1000, "no longer than needed");
  await t.rejects(server.get("/healthz"));
});

t.test("what does not finish is cut off", async (t) => {
  const server = await serverOf(t, "primary", { settings: { SANDPIPER_SERVER_SHUTDOWN_SECONDS: "1" } });
  const who = await cast(server);
  const head = `POST /companies HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${who.admin}\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n`;
  const slow = sendRaw(server, head);
  await pause(200);
  const begun = Date.now();
  await server.stop();
  t.ok(Date.now() - begun < 3000);
  t.equal(await slow, "");
});

t.test("upgrades are checked, handed over, refused while stopping, and cut off at the end", async (t) => {
  const taken: Duplex[] = [];
  const upgrade = (_request: http.IncomingMessage, socket: Duplex) => {
    taken.push(socket);
    socket.on("error", () => {});
    socket.write("HTTP/1.1 101 Switching Protocols\r\n\r\n");
  };
  const settings = { SANDPIPER_SERVER_SHUTDOWN_SECONDS: "1" };
  const server = await serverOf(t, "primary", { more: [{ upgrade }], settings });
  const asking = (host = "Host: x") =>
    `GET /sync HTTP/1.1\r\n${host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n`;
  t.equal(statusOf(await sendRaw(server, asking("Host: x\r\nHost: y"))), 400);
  t.equal(taken.length, 0);
  const open = sendRaw(server, asking());
  const other = net.connect(server.port, "127.0.0.1");
  other.on("error", () => {});
  await once(other, "connect");
  while (taken.length === 0) await pause(10);
  const stopped = server.stop();
  t.equal(statusOf(await sendRaw(server, asking())), 503);
  await stopped;
  t.match(await open, /^HTTP\/1\.1 101 /);
  other.destroy();
});

t.test("without its database: alive, not ready, and nothing of the inside is told", async (t) => {
  const server = await serverOf(t, "primary");
  const who = await cast(server);
  await server.app.db.close();
  t.equal((await server.get("/healthz")).status, 200);
  t.equal((await server.get("/readyz")).status, 503);
  for (const answer of [
    await server.get("/slices", who.admin),
    await server.post("/login", undefined, { username: "x" }),
  ]) {
    t.ok(answer.status >= 500);
    t.same(Object.keys(answer.json), ["type", "title", "status", "code", "message"]);
    t.notMatch(answer.text, /pool|pg|postgres|connect/i);
  }
  t.match(server.log(), /"level":50.*"cause":\{"messages":\[".*pool/);
});
