/** TLS on both sides, redirects, and whose word about an address is taken. */
import { chmodSync, readFileSync } from "node:fs";
import http, { type IncomingMessage } from "node:http";
import https from "node:https";
import tls from "node:tls";
import t from "tap";
import { clientAddress, proxyList, rateKey } from "../../src/server/http/client-address.ts";
import { connectChannel } from "../../src/sync/transport/connect.ts";
import { checkPrimary } from "../../src/sync/transport/primary-client.ts";
import { makeCertificate } from "../harness/certificate.ts";
import { listen } from "../harness/listen.ts";
import { serverOf } from "../server/support.ts";

const apiKey = "the-api-key-that-nobody-must-get";
const attempts = (url: string): (() => Promise<unknown>)[] => [
  () => checkPrimary({ url, mayBePrivate: true }, apiKey),
  () => connectChannel({ url, mayBePrivate: true }, apiKey, 100, 1000, { in: 0, out: 0 }),
];

t.test("a primary whose certificate cannot be trusted gets no byte of the key", async (t) => {
  const certificate = await makeCertificate(t, "acme.localhost");
  if (certificate === undefined) return t.skip("there is no openssl", () => {});
  let decrypted = 0;
  let came = 0;
  const pem = { key: readFileSync(certificate.key), cert: readFileSync(certificate.cert) };
  const server = tls.createServer(pem, (socket) => {
    socket.on("data", (piece) => {
      decrypted += piece.length;
    });
    socket.on("error", () => {});
  });
  server.on("connection", () => came++);
  const port = await listen(t, server);
  t.teardown(() => delete process.env.NODE_TLS_REJECT_UNAUTHORIZED);
  for (const asked of ["1", "0"]) {
    // The command takes it out of its environment; connections do not rely on that.
    process.env.NODE_TLS_REJECT_UNAUTHORIZED = asked;
    for (const attempt of attempts(`https://127.0.0.1:${port}`)) await t.rejects(attempt(), { code: "untrusted" });
  }
  t.equal(came, 4);
  t.equal(decrypted, 0);
});

t.test("a redirect is not followed, and the key goes nowhere else", async (t) => {
  let got = "";
  const elsewhere = http.createServer((request, response) => {
    got += request.url;
    response.end();
  });
  const target = await listen(t, elsewhere);
  for (const status of [301, 302, 303, 307, 308]) {
    const port = await listen(
      t,
      http.createServer((_request, response) =>
        response.writeHead(status, { location: `http://127.0.0.1:${target}/v1/login` }).end(),
      ),
    );
    for (const attempt of attempts(`http://127.0.0.1:${port}`))
      await t.rejects(attempt(), { code: "protocol" }, `${status}`);
  }
  t.equal(got, "");
});

t.test("a server with TLS of its own", async (t) => {
  const certificate = await makeCertificate(t, "localhost");
  if (certificate === undefined) return t.skip("there is no openssl", () => {});
  const settings = { SANDPIPER_SERVER_TLS_CERT: certificate.cert, SANDPIPER_SERVER_TLS_KEY: certificate.key };
  chmodSync(certificate.key, 0o644);
  await t.rejects(serverOf(t, "primary", { settings }), { code: "config", message: /others may read/ });
  chmodSync(certificate.key, 0o640);
  const half = { SANDPIPER_SERVER_TLS_CERT: certificate.cert };
  await t.rejects(serverOf(t, "primary", { settings: half }), { code: "config", message: /go together/ });
  const mixed = { ...settings, SANDPIPER_SERVER_TLS_CERT: certificate.key };
  await t.rejects(serverOf(t, "primary", { settings: mixed }), { code: "config", message: /are not a certificate/ });

  const { port, url, log } = await serverOf(t, "primary", { settings });
  t.match(url, /^https:/);
  const ca = readFileSync(certificate.cert);
  const ask = (options: https.RequestOptions) =>
    new Promise<number>((resolve, reject) => {
      const request = https.get({
        port,
        host: "127.0.0.1",
        servername: "localhost",
        path: "/healthz",
        ca,
        agent: false,
        ...options,
      });
      request.on("response", (response) => resolve(response.resume().statusCode!));
      request.on("error", reject);
    });
  t.equal(await ask({}), 200);
  t.equal(await ask({ maxVersion: "TLSv1.2" }), 200);
  await t.rejects(ask({ minVersion: "TLSv1", maxVersion: "TLSv1.1", ciphers: "DEFAULT@SECLEVEL=0" }));
  await t.rejects(fetch(`http://127.0.0.1:${port}/healthz`), "plain HTTP is hung up on");
  const read = () => log().match(/server.certificate_(read|refused)/g) ?? [];
  process.emit("SIGHUP");
  t.same(read(), ["server.certificate_read"]);
  chmodSync(certificate.key, 0o644);
  process.emit("SIGHUP");
  t.same(read().at(-1), "server.certificate_refused");
  t.equal(await ask({}), 200, "the old one goes on");
});

t.test("X-Forwarded-For: what trusted proxies wrote, and nothing else", async (t) => {
  const trusted = proxyList(["127.0.0.1", "10.0.0.0/8", "fd00::/8"]);
  const client = (remoteAddress: string, forwarded?: string) =>
    clientAddress(
      { socket: { remoteAddress }, headers: { "x-forwarded-for": forwarded } } as unknown as IncomingMessage,
      trusted,
    );
  for (const [peer, forwarded, expected] of [
    ["192.0.2.1", "203.0.113.9", "192.0.2.1"],
    ["127.0.0.1", undefined, "127.0.0.1"],
    ["127.0.0.1", "203.0.113.9", "203.0.113.9"],
    ["::ffff:127.0.0.1", "203.0.113.9", "203.0.113.9"],
    ["127.0.0.1", "1.1.1.1, 203.0.113.9", "203.0.113.9"],
    ["127.0.0.1", "1.1.1.1, 203.0.113.9, 10.1.1.1", "203.0.113.9"],
    ["127.0.0.1", "nonsense", "127.0.0.1"],
    ["127.0.0.1", "1.1.1.1, nonsense, 10.1.1.1", "10.1.1.1"],
    ["fd00::5", "2001:db8::1", "2001:db8::1"],
    ["127.0.0.1", "10.0.0.1,10.0.0.2", "10.0.0.1"],
  ] as const)
    t.equal(client(peer, forwarded), expected, `${peer} ${forwarded}`);
  t.equal(rateKey("2001:db8::1"), rateKey("2001:db8:0:0:ffff:1:2:3"), "one network of 64 bits");
  t.not(rateKey("2001:db8:0:1::1"), rateKey("2001:db8::1"));
  t.not(rateKey("192.0.2.1"), rateKey("192.0.2.2"));
});

t.test("behind a trusted proxy clients are logged and limited one by one", async (t) => {
  const server = await serverOf(t, "primary", { settings: { SANDPIPER_SERVER_TRUSTED_PROXIES: "127.0.0.1" } });
  const login = async (from: string) =>
    (
      await server.call("POST", "/login", {
        body: { username: "mallory", password: "x" },
        headers: { "x-forwarded-for": from },
      })
    ).status;
  for (let i = 0; i < 10; i++) t.equal(await login(`192.0.2.${i}, 203.0.113.9`), 401);
  t.equal(await login("203.0.113.9"), 429);
  t.equal(await login("203.0.113.10"), 401, "no lock-out from another address");
  t.match(server.log(), '"peer":"203.0.113.9"');
});
