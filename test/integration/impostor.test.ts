/** Whoever answers with another certificate gets nothing, whatever the environment says; and what is wrong with a certificate is said. Real commands. */
import { readFileSync, writeFileSync } from "node:fs";
import { createServer as createHttpServer } from "node:http";
import { createServer as createHttpsServer } from "node:https";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { createServer as createTlsServer, type TlsOptions } from "node:tls";
import t, { type Test } from "tap";
import { makeAuthority, makeCertificate } from "../harness/certificate.ts";
import { listen } from "../harness/listen.ts";
import { makePair, type Party } from "./parties.ts";

t.setTimeout(240_000);

const pem = ({ key, cert }: { key: string; cert: string }) => ({ key: readFileSync(key), cert: readFileSync(cert) });

/** A server with TLS that counts what it can read. */
async function makeImpostor(t: Test, options: TlsOptions) {
  const impostor = { port: 0, came: 0, read: 0 };
  const server = createTlsServer(options, (socket) => {
    socket.on("data", (piece) => {
      impostor.read += piece.length;
    });
    socket.on("error", () => {});
  });
  server.on("connection", () => impostor.came++);
  server.on("tlsClientError", () => {});
  impostor.port = await listen(t, server);
  return impostor;
}

function onConnect(request: { url?: string | undefined }, socket: Socket): void {
  socket.on("error", () => {});
  const onward = connect(Number(request.url!.split(":").at(-1)), "127.0.0.1", () => {
    socket.write("HTTP/1.1 200 Connection established\r\n\r\n");
    onward.pipe(socket).pipe(onward);
  });
  onward.on("error", () => socket.destroy());
  socket.on("close", () => onward.destroy());
}

async function moveTo(secondary: Party, url: string): Promise<void> {
  await (await secondary.db()).run("UPDATE companies SET sync_addr = $1 WHERE name = 'ABC Brakes'", [url]);
}

const unverified = { NODE_TLS_REJECT_UNAUTHORIZED: "0" };

t.test("an impostor gets no byte of the key", async (t) => {
  const trusted = await makeCertificate(t, "localhost");
  const other = await makeCertificate(t, "localhost");
  if (trusted === undefined || other === undefined) return t.skip("there is no openssl", () => {});
  const { primary, secondary } = await makePair(t);
  const impostor = await makeImpostor(t, pem(other));
  const httpProxy = createHttpServer().on("connect", onConnect as never);
  const httpsProxy = createHttpsServer(pem(trusted)).on("connect", onConnect as never);
  const [httpPort, httpsPort] = [await listen(t, httpProxy), await listen(t, httpsProxy)];
  const key = join(secondary.directory, "some.key");
  writeFileSync(key, await primary.ok(["company", "rekey", "Epicor"]), { mode: 0o600 });
  const extra = { ...unverified, NODE_EXTRA_CA_CERTS: trusted.cert };
  await moveTo(secondary, `https://localhost:${impostor.port}`);
  for (const [way, env] of [
    ["directly", unverified],
    ["with a private authority", extra],
    ["through an HTTP proxy", { ...extra, HTTPS_PROXY: `http://localhost:${httpPort}` }],
    ["through an HTTPS proxy", { ...extra, HTTPS_PROXY: `https://localhost:${httpsPort}` }],
    ["with older TLS", { ...unverified, NODE_OPTIONS: "--tls-min-v1.0 --tls-cipher-list=ALL:aNULL@SECLEVEL=0" }],
  ] as [string, Record<string, string>][]) {
    for (const args of [
      ["sync", "--retry-for", "0"],
      ["company", "rekey", "ABC Brakes", "--api-key-file", key],
    ]) {
      impostor.came = 0;
      const { code, stderr } = await secondary.run(args, { env });
      t.equal(code, 3, `${way}: ${stderr}`);
      t.match(stderr, /localhost:\d+ cannot be trusted: no authority vouches for it/, way);
      t.equal(impostor.came, 1, way);
      t.equal(impostor.read, 0, way);
      t.match(stderr, "Nothing was sent.");
      t.equal(stderr.match(/^Warning: NODE_TLS_REJECT_UNAUTHORIZED has no effect/gm)?.length, 1, stderr);
      t.notMatch(stderr, /\(node:|makes TLS connections/, "Node's own warning is not seen");
    }
  }
  const quiet = await secondary.run(["sync", "--quiet", "--retry-for", "0"], { env: unverified });
  t.notMatch(quiet.stderr, "Warning:");
  t.match(quiet.stderr, /Nothing was sent\..* NODE_TLS_REJECT_UNAUTHORIZED has no effect\.\n/);
  const json = await secondary.run(["sync", "--json", "--retry-for", "0"], { env: unverified });
  t.equal(json.stderr, "");

  await t.test("nor does a proxy with another certificate get its password", async (t) => {
    const proxy = await makeImpostor(t, pem(other));
    const env = { ...unverified, HTTPS_PROXY: `https://user:hunter2@localhost:${proxy.port}` };
    const { code, stderr } = await secondary.run(["sync", "--retry-for", "0"], { env });
    t.equal(code, 3);
    t.match(stderr, /the proxy https:\/\/localhost:\d+ cannot be trusted/);
    t.match(stderr, "whoever runs the proxy");
    t.notMatch(stderr, "hunter2");
    t.equal(proxy.came, 1);
    t.equal(proxy.read, 0);
  });

  await t.test("nor one whose certificate is for the proxy's name, at an address", async (t) => {
    const neighbour = await makeImpostor(t, pem(trusted));
    await moveTo(secondary, `https://127.0.0.1:${neighbour.port}`);
    const env = { HTTPS_PROXY: `http://localhost:${httpPort}`, NODE_EXTRA_CA_CERTS: trusted.cert };
    const { code, stderr } = await secondary.run(["sync", "--retry-for", "0"], { env });
    t.equal(code, 3);
    t.match(stderr, /it is for another name \(ERR_TLS_CERT_ALTNAME_INVALID\)/);
    t.equal(neighbour.came, 1);
    t.equal(neighbour.read, 0);
  });

  await t.test("nor one that speaks TLS 1.1 only, whatever NODE_OPTIONS says", async (t) => {
    const old = await makeImpostor(t, {
      ...pem(trusted),
      minVersion: "TLSv1",
      maxVersion: "TLSv1.1",
      ciphers: "DEFAULT@SECLEVEL=0",
    });
    await moveTo(secondary, `https://localhost:${old.port}`);
    const env = {
      NODE_EXTRA_CA_CERTS: trusted.cert,
      NODE_OPTIONS: "--tls-min-v1.0 --tls-cipher-list=DEFAULT@SECLEVEL=0",
    };
    const { code, stderr } = await secondary.run(["sync", "--retry-for", "0"], { env });
    t.equal(code, 4, stderr);
    t.match(stderr, "does not speak TLS as we do");
    t.equal(old.read, 0);
  });
});

t.test("what is wrong with a certificate, and who must do what", async (t) => {
  const authority = await makeAuthority(t);
  if (authority === undefined) return t.skip("there is no openssl", () => {});
  const { secondary } = await makePair(t);
  const good = await authority.issue("localhost");
  const chain = (of: { key: string; cert: string }) => ({
    key: readFileSync(of.key),
    cert: readFileSync(of.cert, "utf8") + readFileSync(authority.intermediate, "utf8"),
  });
  const trusting = { NODE_EXTRA_CA_CERTS: authority.root };
  const cases: [string, TlsOptions, Record<string, string>, RegExp][] = [
    ["complete", chain(good), trusting, /closed the connection|did not answer|not a sandpiper/],
    [
      "no intermediate",
      pem(good),
      trusting,
      /comes without the intermediate.*\n.*partner to add the intermediate.*fullchain/,
    ],
    ["an authority that is not known", chain(good), {}, /its authority is not known here.*\n.*NODE_EXTRA_CA_CERTS/],
    [
      "expired",
      chain(await authority.issue("localhost", { from: "200101000000Z", to: "210101000000Z" })),
      trusting,
      /it has expired \(CERT_HAS_EXPIRED\)\n.*Ask the partner to renew it/,
    ],
    [
      "not yet valid",
      chain(await authority.issue("localhost", { from: "400101000000Z", to: "410101000000Z" })),
      trusting,
      /it is not valid yet \(CERT_NOT_YET_VALID\)\n.*clock of this machine/,
    ],
    [
      "another name",
      chain(await authority.issue("other.example")),
      trusting,
      /for another name.*\n.*Correct the address/,
    ],
  ];
  for (const [what, options, env, sentence] of cases) {
    const server = createHttpsServer(options, (_request, response) => response.end("<html>"));
    server.on("tlsClientError", () => {});
    await moveTo(secondary, `https://localhost:${await listen(t, server)}`);
    const { code, stderr } = await secondary.run(["sync", "--retry-for", "0"], { env });
    t.equal(code, what === "complete" ? 4 : 3, what);
    t.match(stderr, sentence, what);
  }
});
