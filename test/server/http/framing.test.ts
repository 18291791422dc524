/** What is refused before any route is asked, and bodies that are not what they should be. */
import net from "node:net";
import t, { type Test } from "tap";
import { cast, sendRaw, serverOf, statusOf } from "../support.ts";

const server = await serverOf(t, "primary");
const who = await cast(server);
const { admin } = who;
const request = (head: string, body = "") => sendRaw(server, `${head}\r\nConnection: close\r\n\r\n${body}`);

const isProblem = (t: Test, text: string) => {
  const body = text.slice(text.indexOf("\r\n\r\n") + 4);
  t.match(text, /content-type: application\/problem\+json; charset=utf-8/i);
  t.ok(body.length > 0 && Buffer.byteLength(body) <= 512);
  t.match(JSON.parse(body), {
    type: "about:blank",
    title: String,
    status: statusOf(text),
    code: String,
    message: String,
  });
};

t.test("framing", async (t) => {
  const many = Array.from({ length: 70 }, (_, i) => `X${i}: 1`).join("\r\n");
  const heads: [head: string, status: number][] = [
    ["FOO / HTTP/1.1\r\nHost: x", 400],
    ["GET / HTTP/1.1", 400],
    ["GET / HTTP/1.1\r\nHost: x\r\nHost: y", 400],
    ["GET / HTTP/1.1\r\nHost: x\r\nHost: x", 400],
    ["GET http://evil.example/ HTTP/1.1\r\nHost: x", 400],
    ["OPTIONS * HTTP/1.1\r\nHost: x", 400],
    ["TRACE / HTTP/1.1\r\nHost: x", 405],
    [`GET / HTTP/1.1\r\nHost: x\r\n${many}`, 431],
    [`GET / HTTP/1.1\r\nHost: x\r\nX: ${"x".repeat(9000)}`, 431],
    [`GET /${"x".repeat(16_000)} HTTP/1.1\r\nHost: x`, 431],
    ["POST /login HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nTransfer-Encoding: chunked", 400],
    ["POST /login HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3", 400],
    ["POST /login HTTP/1.1\r\nHost: x\r\nContent-Length: -1", 400],
    ["GET / HTTP/1.1\r\nHost: x\r\nX: \0", 400],
    ["GET / HTTP/1.1\r\nHost : x", 400],
    ["GET / HTTP/3.0\r\nHost: x", 400],
    ["GET / HTTP/1.1\r\nHost: x\r\nExpect: foo", 417],
    ["GET /slices/%zz HTTP/1.1\r\nHost: x", 400],
    ["GET /nothing/%c0%af HTTP/1.1\r\nHost: x", 400],
    ["GET /slices/%00 HTTP/1.1\r\nHost: x", 400],
    ["GET /slices?page=%zz HTTP/1.1\r\nHost: x", 400],
  ];
  for (const [head, status] of heads) {
    const text = await request(head);
    t.equal(statusOf(text), status, JSON.stringify(head.slice(0, 60)));
    isProblem(t, text);
  }
  t.equal(await request("CONNECT a:1 HTTP/1.1\r\nHost: x"), "", "no tunnel");
  t.match(await sendRaw(server, Buffer.from([0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01])), /^HTTP\/1\.1 400 /);
});

t.test("addresses", async (t) => {
  const paths: [path: string, status: number][] = [
    ["/nothing", 404],
    ["/SLICES", 404],
    ["/slices/", 404],
    ["/v2/slices", 404],
    ["/v1/slices/..%2f..%2fetc%2fpasswd", 404],
    ["/v1/slices/%252e%252e", 404],
    ["/v1/slices/..;/", 404],
    ["/slices/1234", 400],
    ["/slices/{11111111-2222-3333-4444-555555555555}", 400],
    ["/slices/11111111-2222-3333-4444-555555555555%20", 400],
    [`/slices/${"1".repeat(4000)}`, 400],
    ["/slices/urn:uuid:11111111-2222-3333-4444-555555555555", 400],
    ["/slices/11111111-2222-3333-4444-555555555555", 404],
    ["/slices/name/'%20OR%201=1--", 404],
    ["/slices?x=1", 400],
    ["/me?x=1", 400],
  ];
  for (const [path, status] of paths) {
    const text = await request(`GET ${path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${admin}`);
    t.equal(statusOf(text), status, path.slice(0, 60));
    isProblem(t, text);
  }
  const wrong = await server.call("PUT", "/v1/slices", { token: admin });
  t.match(wrong, { status: 405, json: { code: "method" } });
  t.equal(wrong.headers.get("allow"), "GET, HEAD, POST");
  const preflight = await server.call("OPTIONS", "/login", { headers: { origin: "https://evil.example" } });
  t.equal(preflight.status, 405);
  t.equal(preflight.headers.get("access-control-allow-origin"), null);
  const head = await server.call("HEAD", "/slices", { token: admin });
  t.same([head.status, head.text], [200, ""]);
  const override = { "x-http-method-override": "DELETE" };
  t.equal((await server.call("GET", "/me", { token: admin, headers: override })).status, 200);
});

t.test("bodies", async (t) => {
  const post = (raw: string | Uint8Array, headers: Record<string, string> = {}) =>
    server.call("POST", "/companies", {
      token: admin,
      raw,
      headers: { "content-type": "application/json", ...headers },
    });
  const refused: [raw: string | Uint8Array, status: number, headers?: Record<string, string>][] = [
    ["", 400],
    ["1", 400],
    ["[]", 400],
    ["null", 400],
    ["\ufeff{}", 400],
    [Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]), 400],
    ["[".repeat(10_000), 400],
    ["[".repeat(20_000), 413],
    [`[${"0,".repeat(1000)}0]`, 413],
    ['{"name": "x", "admin": true}', 400],
    ['{"name": {"$ne": null}}', 400],
    ['{"name": "a\\u0000b"}', 400],
    ['{"name": "x", "id": ["11111111-2222-3333-4444-555555555555"]}', 400],
    ['{"name": "x"}', 415, { "content-type": "text/plain" }],
    ['{"name": "x"}', 415, { "content-type": "application/json; charset=utf-16" }],
    ['{"name": "x"}', 415, { "content-encoding": "gzip" }],
    [`{"name": "${"x".repeat(1024 * 1024)}"}`, 413],
  ];
  for (const [raw, status, headers] of refused) {
    const answer = await post(raw, headers);
    t.equal(answer.status, status, String(raw).slice(0, 40));
    t.ok(Buffer.byteLength(answer.text) <= 512);
  }
  t.equal((await post('{"name": "Typed"}', { "content-type": 'Application/JSON; charset="UTF-8"' })).status, 201);
  t.equal((await server.get("/companies", admin)).json.paging.items_total, 4);
  const authorization = `Authorization: Bearer ${admin}`;
  const head = `POST /companies HTTP/1.1\r\nHost: x\r\n${authorization}\r\nContent-Type: application/json`;
  t.equal(statusOf(await request(`${head}\r\nContent-Length: 2000000000`)), 413, "before anything is read");
  t.equal(statusOf(await request(`POST /companies HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000000`)), 401);
  t.equal(statusOf(await request(`${head}\r\nTransfer-Encoding: chunked`, "zz\r\n")), 400, "a bad chunk");
});

t.test("an endless body is answered and closed", async (t) => {
  const head = `POST /companies HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${admin}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n`;
  const chunk = `10000\r\n${"x".repeat(65_536)}\r\n`;
  const text = await new Promise<string>((resolve) => {
    let received = "";
    const socket = net.connect(server.port, "127.0.0.1", () => socket.write(head));
    const timer = setInterval(() => socket.write(chunk), 5);
    socket.on("data", (piece) => {
      received += piece;
    });
    socket.on("error", () => {});
    socket.on("close", () => {
      clearInterval(timer);
      resolve(received);
    });
  });
  t.equal(statusOf(text), 413);
});

t.test("a connection serves a hundred requests at most", async (t) => {
  const text = await sendRaw(server, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n".repeat(200));
  t.equal(text.match(/HTTP\/1\.1 200/g)?.length, 100);
});

t.test("headers that do not come are waited for ten seconds", async (t) => {
  const begun = Date.now();
  const text = await sendRaw(server, "GET / HTTP/1.1\r\n", 15_000);
  t.equal(statusOf(text), 408);
  t.ok(Date.now() - begun < 13_000);
});

t.test("whatever came, the server is well, and said so once a request", async (t) => {
  t.equal((await server.get("/healthz")).status, 200);
  const lines = server
    .log()
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  t.ok(lines.every((line) => line.event === "http.request" && (line.status ?? 400) < 500));
});
