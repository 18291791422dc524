/** Answers that nobody reads, requests that come before the answer to the last one, and many at once. */
import { once } from "node:events";
import net from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { statementCount } from "../../harness/statements.ts";
import { cast, keyLogin, serverOf } from "../support.ts";

let upgraded = 0;
const upgrade = () => upgraded++;
const server = await serverOf(t, "primary", { settings: { SANDPIPER_SYNC_IDLE_SECONDS: "2" }, more: [{ upgrade }] });
const who = await cast(server);
const { admin, epicor, other } = who;
const slice = (await server.post("/slices", admin, { name: "Pictures", slice_type: "asset-files" })).json.id as string;
const payload = Buffer.alloc(12_000_000, 7);
await server.batch(slice, admin, [
  { add: { grain_key: "large", encoding: "b64", payload: payload.toString("base64") } },
  { add: { grain_key: "small", encoding: "raw", payload: "small" } },
]);
for (const company_id of [who.epicorId, who.otherId])
  await server.post("/subs", admin, { slice_id: slice, company_id, name: company_id.slice(1) });
const grains = (await server.get(`/grains/slice/${slice}`, admin)).json.data as { id: string; grain_key: string }[];
const idOf = (key: string) => grains.find(({ grain_key }) => grain_key === key)!.id;
const large = `/grains/${idOf("large")}`;
const small = `/grains/${idOf("small")}`;

const request = (path: string, token: string, more = "") =>
  `GET ${path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\n${more}\r\n`;

/** Sends this and reads nothing, until told to. */
function unread(t: { teardown(work: () => void): unknown }, text: string): net.Socket {
  const socket = net.connect(server.port, "127.0.0.1", () => socket.write(text));
  socket.pause();
  socket.on("error", () => {});
  t.teardown(() => socket.destroy());
  return socket;
}

const requestLines = (path: string) =>
  server
    .log()
    .split("\n")
    .filter((line) => line.includes(`"path":"${path}"`))
    .map(
      (line) => JSON.parse(line) as { status: number; ms: number; aborted?: boolean; code?: string; company?: string },
    );

async function until(what: () => boolean, ms = 10_000): Promise<void> {
  for (const end = performance.now() + ms; !what() && performance.now() < end; ) await sleep(20);
}

t.test("a client that reads nothing is cut, one that reads slowly is served", async (t) => {
  const before = requestLines(large).length;
  unread(t, request(large, epicor));
  const slow = unread(t, request(large, other, "Connection: close\r\n"));
  let received = 0;
  let tick = 0;
  slow.on("data", (piece) => {
    received += piece.length;
    tick += piece.length;
    if (tick > 250_000) slow.pause();
  });
  // For three times the clock, ten times a second.
  const timer = setInterval(() => {
    tick = 0;
    slow.resume();
  }, 100);
  await once(slow, "close");
  clearInterval(timer);
  t.ok(received > 16_000_000, "all of it came");
  const [cut, served] = requestLines(large)
    .slice(before)
    .sort((a, b) => a.ms - b.ms);
  t.match(cut, { aborted: true, code: "network", company: who.epicorId });
  t.ok(cut!.ms >= 2000 && cut!.ms < 6000, `after ${cut!.ms} ms`);
  t.match(served, { status: 200, aborted: undefined, company: who.otherId });
});

t.test("work ends with its connection", async (t) => {
  const path = `/sync/slice/${slice}`;
  const [cut, whole] = [unread(t, request(large, epicor)), unread(t, request(path, epicor))];
  await sleep(500);
  const before = statementCount();
  cut.destroy();
  whole.destroy();
  await until(() => requestLines(path).length === 1);
  await sleep(300);
  t.ok(statementCount() - before <= 1, `${statementCount() - before} more statements`);
});

t.test("few at once for a company: the rest waits or comes back; nobody else waits", async (t) => {
  const before = requestLines(large).length;
  const sockets = Array.from({ length: 60 }, () => unread(t, request(large, epicor)));
  await until(() => requestLines(large).length - before >= 40);
  const refused = requestLines(large).slice(before);
  t.equal(refused.length, 40, "4 are answered, 16 wait");
  t.ok(refused.every(({ status, code }) => status === 429 && code === "rate_limited"));
  const again = await server.get(large, epicor);
  t.equal(again.status, 429);
  t.equal(again.headers.get("retry-after"), "5");
  const begun = performance.now();
  t.equal((await server.get("/sync/subs", epicor)).status, 200, "what is quick is not behind what lasts");
  t.equal((await server.get(large, other)).status, 200, "nor is another company");
  for (const path of ["/healthz", "/readyz"]) t.equal((await server.get(path)).status, 200);
  t.ok(await keyLogin(server, who.epicorKey));
  t.ok(performance.now() - begun < 5000);
  for (const socket of sockets) socket.destroy();
  await until(() => requestLines(large).length - before >= 62);
  t.equal((await server.get(large, epicor)).status, 200, "the places are free again");
});

t.test("one at a time on a connection", async (t) => {
  const before = requestLines(large).length;
  const socket = unread(t, request(large, epicor).repeat(30));
  await sleep(1000);
  const others = Promise.all(Array.from({ length: 3 }, () => server.get(large, epicor)));
  t.same(
    (await others).map(({ status }) => status),
    [200, 200, 200],
    "it holds one place",
  );
  await until(() => requestLines(large).length - before >= 4);
  await sleep(500);
  t.equal(requestLines(large).length - before, 4, "what comes after the one that is not read is not even begun");
  socket.destroy();

  const read = unread(t, request(small, epicor).repeat(50) + request(small, epicor, "Connection: close\r\n"));
  let text = "";
  read.on("data", (piece) => {
    text += piece;
  });
  read.resume();
  await once(read, "close");
  t.equal(text.match(/HTTP\/1\.1 200 OK/g)?.length, 51, "who reads gets them all, in order");

  const upgrade = `GET /sync HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n`;
  const mixed = unread(t, request(large, epicor) + upgrade);
  mixed.resume();
  await once(mixed, "close");
  t.equal(upgraded, 0, "no upgrade in the middle of an answer");
});

t.test("many connections, each with many requests: what is held is counted by address", async (t) => {
  const sockets = Array.from({ length: 5 }, () =>
    unread(t, request(large, epicor) + request(small, epicor).repeat(80)),
  );
  const cut = () => sockets.filter(({ readyState }) => readyState === "closed").length;
  // They read nothing, and notice by what they send that they were cut; well before that would come of reading nothing.
  await until(() => {
    for (const socket of sockets) socket.write("G");
    return cut() > 0;
  }, 1500);
  t.ok(cut() >= 1, "256 of an address");
  t.equal((await server.get("/me", other)).status, 200);
});
