/** Syncs through a proxy: real commands, a real primary, and a proxy that counts what it tunnels. */
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { connect, createServer as createNetServer, type Socket } from "node:net";
import { createServer as createTlsServer } from "node:tls";
import t, { type Test } from "tap";
import { makeCertificate } from "../harness/certificate.ts";
import { listen } from "../harness/listen.ts";
import { addLines, events, makePair, offer, type Party } from "./parties.ts";

t.setTimeout(180_000);

/** A proxy that tunnels to loopback, whatever the name, and notes what it was asked for. */
async function makeProxy(t: Test) {
  const proxy = {
    address: "",
    targets: [] as string[],
    credentials: [] as (string | undefined)[],
    /** Answers with this instead. */
    refuse: "",
    plain: 0,
  };
  const server = createServer((_request, response) => {
    proxy.plain++;
    response.writeHead(405).end();
  });
  server.on("connect", (request, socket: Socket, head: Buffer) => {
    proxy.targets.push(request.url!);
    proxy.credentials.push(request.headers["proxy-authorization"]);
    socket.on("error", () => {});
    if (proxy.refuse !== "") {
      socket.end(`HTTP/1.1 ${proxy.refuse}\r\nContent-Length: 0\r\n\r\n`);
      return;
    }
    const port = Number(request.url!.split(":").at(-1));
    const onward = connect(port, "127.0.0.1", () => {
      socket.write("HTTP/1.1 200 Connection established\r\n\r\n");
      onward.write(head);
      onward.pipe(socket).pipe(onward);
    });
    onward.on("error", () => socket.destroy());
    socket.on("close", () => onward.destroy());
  });
  proxy.address = `127.0.0.1:${await listen(t, server)}`;
  return proxy;
}

async function moveTo(secondary: Party, url: string): Promise<void> {
  await (await secondary.db()).run("UPDATE companies SET sync_addr = $1 WHERE name = 'ABC Brakes'", [url]);
}

t.test("a primary over http", async (t) => {
  const { primary, secondary } = await makePair(t);
  await offer(primary, "parts", "aces-items", secondary);
  await primary.batch("parts", addLines(0, 300, 2000));
  const proxy = await makeProxy(t);
  const { host } = new URL(primary.server!.url);
  const env = { HTTP_PROXY: `http://us%40er:hunter2@${proxy.address}` };
  const run = await secondary.run(["sync", "--log.level", "trace"], { env });
  t.equal(run.code, 0, run.stderr);
  t.same(await secondary.content(), await primary.content());
  t.same(proxy.targets, [host, host, host], "login, list and websocket");
  t.equal(proxy.credentials[0], `Basic ${Buffer.from("us@er:hunter2").toString("base64")}`);
  t.equal(proxy.plain, 0);
  t.notMatch(run.stdout + run.stderr, "hunter2");

  proxy.targets = [];
  for (const NO_PROXY of ["127.0.0.1", "x,127.0.0.0/8,127.0.0.1", "*", host])
    t.equal((await secondary.run(["sync"], { env: { ...env, NO_PROXY } })).code, 0);
  t.equal((await secondary.run(["sync"], { env: { HTTPS_PROXY: proxy.address } })).code, 0);
  t.same(proxy.targets, [], "not for what NO_PROXY names, nor for the other scheme");
  t.equal((await secondary.run(["sync"], { env: { http_proxy: proxy.address } })).code, 0);
  t.equal(proxy.targets.length, 3, "in lower case, and without http://");

  for (const [refuse, code, message, retried] of [
    ["407 Proxy Authentication Required", 3, /the proxy http:\/\/127.*HTTP 407/, false],
    ["403 Forbidden", 3, /does not let us through to 127.*HTTP 403/, false],
    ["502 Bad Gateway", 3, /cannot reach 127.* at the moment \(HTTP 502\)/, true],
    ["503 Unavailable", 3, /HTTP 503/, true],
    ["504 Timeout", 3, /HTTP 504/, true],
  ] as const) {
    proxy.refuse = refuse;
    const refused = await secondary.run(["sync", "--json", "--retry-for", "1"], { env });
    t.equal(refused.code, code, refuse);
    const all = events(refused.stdout);
    t.match(all.find(({ event }) => event === "partner").error.message, message);
    t.equal(
      all.some(({ event }) => event === "retry"),
      retried,
      `${refuse} is ${retried ? "" : "not "}tried again`,
    );
    t.notMatch(refused.stdout + refused.stderr, "hunter2");
  }
  proxy.refuse = "407 Proxy Authentication Required";
  t.match(
    (await secondary.run(["sync"], { env })).stderr,
    /\n {2}Put the user and password of the proxy into HTTPS_PROXY/,
  );
  const gone = await secondary.run(["sync", "--retry-for", "0"], {
    env: { HTTP_PROXY: "http://a:hunter2@127.0.0.1:9" },
  });
  t.equal(gone.code, 3);
  t.match(gone.stderr, "cannot reach the proxy http://127.0.0.1:9: nothing listens there");
  t.notMatch(gone.stderr, "hunter2");
  for (const [userinfo, credentials] of [
    ["us:50%off", "us:50%off"],
    ["us:100%", "us:100%"],
    ["a%40b:%zz%C3%A9%25", "a@b:%zz\u00e9%"],
  ] as const) {
    proxy.refuse = "";
    proxy.credentials = [];
    const run = await secondary.run(["sync"], { env: { HTTP_PROXY: `http://${userinfo}@${proxy.address}` } });
    t.equal(run.code, 0, run.stderr);
    t.equal(proxy.credentials[0], `Basic ${Buffer.from(credentials).toString("base64")}`, userinfo);
    t.notMatch(run.stdout + run.stderr, /50%off|zz%C3/);
  }
  const noProxy = await listen(
    t,
    createNetServer((socket) => socket.on("error", () => {}).end("220 mail.example ESMTP\r\n\r\n")),
  );
  const wrong = await secondary.run(["sync"], { env: { HTTP_PROXY: `http://a:hunter2@127.0.0.1:${noProxy}` } });
  t.equal(wrong.code, 3);
  t.match(wrong.stderr, /what answers at the proxy http:\/\/127.0.0.1:\d+ is not an HTTP proxy/);
  t.notMatch(wrong.stderr, "hunter2");
  const debugged = await secondary.run(["sync"], { env: { ...env, DEBUG: "*" } });
  t.match(debugged.stderr, "https-proxy-agent");
  t.notMatch(debugged.stderr, "hunter2", "not even where libraries say what they do");
  t.notMatch(debugged.stderr, env.HTTP_PROXY.slice(7).split("@")[0]!);
  const socks = await secondary.run(["sync"], { env: { HTTP_PROXY: "socks5://a:hunter2@127.0.0.1:9" } });
  t.equal(socks.code, 2);
  t.notMatch(socks.stderr, "hunter2");
});

t.test("a primary over https: the certificate is the primary's, verified through the tunnel", async (t) => {
  const certificate = await makeCertificate(t, "acme.localhost");
  if (certificate === undefined) {
    t.skip("there is no openssl", () => {});
    return;
  }
  const { primary, secondary } = await makePair(t);
  await offer(primary, "parts", "aces-items", secondary);
  await primary.batch("parts", addLines(0, 300, 2000));
  const { port } = new URL(primary.server!.url);
  const options = { key: readFileSync(certificate.key), cert: readFileSync(certificate.cert) };
  const terminator = createTlsServer(options, (socket) => {
    const onward = connect(Number(port), "127.0.0.1");
    socket.on("error", () => onward.destroy());
    onward.on("error", () => socket.destroy());
    socket.pipe(onward).pipe(socket);
  });
  const tlsPort = await listen(t, terminator);
  const proxy = await makeProxy(t);
  const trusting = { HTTPS_PROXY: proxy.address, NODE_EXTRA_CA_CERTS: certificate.cert };
  await moveTo(secondary, `https://acme.localhost:${tlsPort}`);

  const distrusting = await secondary.run(["sync", "--json"], { env: { HTTPS_PROXY: proxy.address } });
  t.equal(distrusting.code, 3);
  t.match(events(distrusting.stdout)[0], {
    event: "partner",
    error: { code: "untrusted", message: /cannot be trusted/ },
  });
  // The name is known to the proxy alone; directly, by number.
  await moveTo(secondary, `https://127.0.0.1:${tlsPort}`);
  const direct = await secondary.run(["sync", "--json"]);
  t.match(events(direct.stdout)[0], { event: "partner", exit_code: 3, error: { code: "untrusted" } });
  await moveTo(secondary, `https://acme.localhost:${tlsPort}`);

  proxy.targets = [];
  const run = await secondary.run(["sync"], { env: trusting });
  t.equal(run.code, 0, run.stderr);
  t.same(proxy.targets, Array(3).fill(`acme.localhost:${tlsPort}`));
  t.same(await secondary.content(), await primary.content());

  await moveTo(secondary, `https://other.localhost:${tlsPort}`);
  const other = await secondary.run(["sync", "--json"], { env: trusting });
  t.match(events(other.stdout)[0], {
    event: "partner",
    error: { code: "untrusted", message: /ERR_TLS_CERT_ALTNAME_INVALID/ },
  });
});
