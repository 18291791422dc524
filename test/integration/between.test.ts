/** What stands between a secondary and its primary, or in place of it, is named as what it is. Real commands. */
import { createServer, request } from "node:http";
import { createServer as createNetServer, type Server } from "node:net";
import t, { type Test } from "tap";
import { makeCertificate } from "../harness/certificate.ts";
import { listen as listenOn } from "../harness/listen.ts";
import { makePair, offer, type Party } from "./parties.ts";

t.setTimeout(120_000);

const listen = async (t: Test, server: Server): Promise<string> => `127.0.0.1:${await listenOn(t, server)}`;

/** As nginx without the lines about Upgrade and Connection. */
const plainProxy = (to: string) =>
  createServer((incoming, outgoing) => {
    const { upgrade: _upgrade, ...headers } = incoming.headers;
    const { url, method } = incoming;
    const onward = request(new URL(url!, to), { method, headers: { ...headers, connection: "close" } }, (answer) => {
      outgoing.writeHead(answer.statusCode!, answer.headers);
      answer.pipe(outgoing);
    });
    onward.on("error", () => outgoing.destroy());
    incoming.pipe(onward);
  });

async function moveTo(secondary: Party, url: string): Promise<void> {
  await (await secondary.db()).run("UPDATE companies SET sync_addr = $1 WHERE name = 'ABC Brakes'", [url]);
}

t.test("in between", async (t) => {
  const { primary, secondary } = await makePair(t);
  await offer(primary, "parts", "aces-items", secondary);
  const sync = () => secondary.run(["sync", "--retry-for", "0"]);

  await t.test("a proxy that drops Upgrade", async (t) => {
    await moveTo(secondary, `http://${await listen(t, plainProxy(primary.server!.url))}`);
    const { code, stderr } = await sync();
    t.equal(code, 4);
    t.match(
      stderr,
      /accepts our login, but does not open a websocket: it answers with HTTP 404\n.*Upgrade, Connection/,
    );
    t.notMatch(stderr, "is not a sandpiper server");
  });

  await t.test("an address with what is below it", async (t) => {
    const key = await primary.ok(["company", "rekey", "Epicor"]);
    const { host } = new URL(primary.server!.url);
    for (const below of ["/v1", "/v1/", "/v1/sync", "/v1/login"]) {
      const address = `http://${host}${below}`;
      const args = ["company", "rekey", "ABC Brakes", "--api-key-file", "-", "--sync-addr", address, "--json"];
      const { code, stdout, stderr } = await secondary.run(args, { input: key });
      t.equal(code, 0, stderr);
      t.equal(JSON.parse(stdout).sync_addr, `http://${host}`, below);
    }
    t.equal((await sync()).code, 0);
  });

  await t.test("TLS at an http address, and no TLS at an https address", async (t) => {
    await moveTo(secondary, `https://${new URL(primary.server!.url).host}`);
    const none = await sync();
    t.equal(none.code, 4);
    t.match(none.stderr, /does not speak TLS as we do\n.*begin with http:\/\/ instead/);
    const certificate = await makeCertificate(t, "localhost");
    if (certificate === undefined) return t.skip("there is no openssl", () => {});
    const env = { SANDPIPER_SERVER_TLS_CERT: certificate.cert, SANDPIPER_SERVER_TLS_KEY: certificate.key };
    await primary.server!.stop();
    await primary.serve({ env });
    await moveTo(secondary, primary.server!.url.replace("https:", "http:"));
    const plain = await sync();
    t.equal(plain.code, 3);
    t.match(plain.stderr, /closed the connection\n.*If it speaks TLS, the address begins with https/);
  });

  await t.test("something that is not HTTP", async (t) => {
    const server = createNetServer((socket) => socket.on("error", () => {}).end("220 mail.example ESMTP\r\n"));
    await moveTo(secondary, `http://${await listen(t, server)}`);
    const { code, stderr } = await sync();
    t.equal(code, 4);
    t.match(stderr, "not a sandpiper server: it sent something that is not HTTP");
  });
});
