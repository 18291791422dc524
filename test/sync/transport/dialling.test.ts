/** A name with several addresses, of which the first takes a second to answer: far away, or with a packet lost on the way. */
import { type ChildProcess, spawn } from "node:child_process";
import dns from "node:dns";
import { once } from "node:events";
import { connect, getDefaultAutoSelectFamilyAttemptTimeout, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { parseConfig } from "../../../src/config/config.ts";
import { openDatabase } from "../../../src/database/database.ts";
import { connectChannel } from "../../../src/sync/transport/connect.ts";
import { requestJson, wholeJson } from "../../../src/sync/transport/http-client.ts";

t.setTimeout(120_000);

const program = `
const server = require("node:http").createServer((_request, response) => response.writeHead(418).end());
server.on("connect", (_request, socket) => socket.end("HTTP/1.1 407 Who are you\\r\\n\\r\\n"));
server.on("upgrade", (_request, socket) => socket.end("HTTP/1.1 418 A teapot\\r\\n\\r\\n"));
server.listen({ port: 0, host: "127.0.0.1", backlog: 1 }, () => console.log(server.address().port));`;

/** A server that stands still, and whose queue is full: the first SYN is dropped, and sent again after a second. */
class SlowServer {
  readonly #filling: Socket[] = [];
  private constructor(
    private readonly child: ChildProcess,
    readonly port: number,
  ) {}

  static async start(): Promise<SlowServer> {
    const child = spawn(process.execPath, ["-e", program], { stdio: ["ignore", "pipe", "inherit"] });
    t.teardown(() => child.kill("SIGKILL"));
    const [line] = await once(child.stdout!, "data");
    return new SlowServer(child, Number(line));
  }

  async fill(): Promise<void> {
    this.child.kill("SIGSTOP");
    for (;;) {
      const socket = connect(this.port, "127.0.0.1");
      socket.on("error", () => {});
      this.#filling.push(socket);
      if ((await Promise.race([once(socket, "connect"), sleep(300, "full")])) === "full") return;
    }
  }

  goOn(): void {
    this.child.kill("SIGCONT");
    for (const socket of this.#filling.splice(0)) socket.destroy();
  }
}

t.test("every address has several seconds, not 250 ms", async (t) => {
  const { lookup } = dns;
  t.teardown(() => {
    dns.lookup = lookup;
    delete process.env.HTTP_PROXY;
  });
  // The other one is unreachable where there is no IPv6, and silent elsewhere.
  const addresses = [
    { address: "127.0.0.1", family: 4 },
    { address: "fd00:dead::1", family: 6 },
  ];
  dns.lookup = ((_name: string, _options: object, done: (error: null, found: typeof addresses) => void) =>
    done(null, addresses)) as typeof lookup;
  const server = await SlowServer.start();
  const url = `http://far.test:${server.port}`;
  const ways: [string, () => Promise<unknown>, { code: string; message: RegExp }][] = [
    [
      "a request",
      () => requestJson(new URL(url), wholeJson(1000), { mayBePrivate: true }),
      { code: "protocol", message: /HTTP 418/ },
    ],
    [
      "a websocket",
      () => connectChannel({ url, mayBePrivate: true }, "token", 10, 30_000, { in: 0, out: 0 }),
      { code: "protocol", message: /HTTP 418/ },
    ],
    [
      "the way to a proxy",
      () => {
        process.env.HTTP_PROXY = url;
        return requestJson(new URL("http://elsewhere.test"), wholeJson(1000), { mayBePrivate: true });
      },
      { code: "unreachable", message: /HTTP 407/ },
    ],
  ];
  for (const [what, attempt, expected] of ways) {
    await server.fill();
    const begun = performance.now();
    const going = t.rejects(attempt(), expected, `${what} gets its answer`);
    await sleep(500);
    server.goOn();
    await going;
    t.ok(performance.now() - begun > 600, `${what} had to wait for it`);
  }
});

t.test("and so with the database, which pg leaves to Node", async (t) => {
  const environment = { SANDPIPER_DATABASE_URL: "postgres://nobody@127.0.0.1:1/none" };
  await t.rejects(openDatabase(parseConfig({ flags: [], environment, file: "x.yaml" })), { code: "storage" });
  t.equal(getDefaultAutoSelectFamilyAttemptTimeout(), 5000);
});
