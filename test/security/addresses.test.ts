/** Where a secondary may be sent: checked when an address is stored, and again, by what it leads to, when it is connected to. */
import dns from "node:dns";
import net, { type AddressInfo } from "node:net";
import t, { type Test } from "tap";
import { sealApiKey } from "../../src/companies/api-key.ts";
import { roles } from "../../src/companies/company.ts";
import { findCompany, readSealedKey, setSyncCredentials } from "../../src/companies/company-store.ts";
import { checkSyncAddress, whyRefused } from "../../src/companies/sync-address.ts";
import { addUser } from "../../src/companies/user-store.ts";
import { requireSecret } from "../../src/config/secrets.ts";
import { plainRun } from "../../src/sync/protocol/run-options.ts";
import { runPartner } from "../../src/sync/run/run-partner.ts";
import { connectChannel } from "../../src/sync/transport/connect.ts";
import { checkPrimary } from "../../src/sync/transport/primary-client.ts";
import { cast, password, serverOf, type TestServer } from "../server/support.ts";

const privateForms = [
  "127.0.0.1",
  "127.1",
  "2130706433",
  "0x7f000001",
  "0177.0.0.1",
  "127.0.0.1.",
  "localhost",
  "LOCALHOST.",
  "a.localhost",
  "10.1.2.3",
  "172.16.0.1",
  "192.168.0.1",
  "100.64.0.1",
  "198.18.0.1",
  "[::1]",
  "[fc00::1]",
  "[fd12:3456::1]",
  "[::ffff:127.0.0.1]",
  "[::ffff:7f00:1]",
  "[0:0:0:0:0:ffff:a00:1]",
  "[64:ff9b::10.0.0.1]",
  "%31%32%37.0.0.1",
  "１２７.0.0.1",
  "database",
  "db.internal",
];
const nowhereForms = [
  "0.0.0.0",
  "0",
  "[::]",
  "169.254.169.254",
  "0xa9fea9fe",
  "2852039166",
  "[::ffff:169.254.169.254]",
  "[64:ff9b::a9fe:a9fe]",
  "[fe80::1]",
  "[fec0::1]",
  "[ff02::1]",
  "[2002:7f00:1::]",
  "[fd00:ec2::254]",
  "224.0.0.1",
  "239.255.255.250",
  "255.255.255.255",
  "192.0.0.192",
];

t.test("an address as text: private ones are the operator's to give, others nobody's", async (t) => {
  for (const host of privateForms) {
    t.ok(checkSyncAddress(`http://${host}:8080`), `${host} on the command line`);
    t.throws(
      () => checkSyncAddress(`https://${host}:8080`, false),
      { code: "usage", message: /private network/ },
      host,
    );
    t.throws(() => checkSyncAddress(`http://${host}:8080`, false), { code: "usage" }, host);
  }
  for (const host of nowhereForms)
    for (const mayBePrivate of [true, false])
      t.throws(() => checkSyncAddress(`https://${host}`, mayBePrivate), { message: /no primary can be/ }, host);
  t.equal(checkSyncAddress("https://sync.acme.example", false), "https://sync.acme.example");
  t.throws(() => checkSyncAddress("http://sync.acme.example", false), { message: /plain http/ });
});

t.test("an address as a name resolves to it", async (t) => {
  for (const ip of ["127.0.0.1", "10.0.0.1", "::1", "fd00::1", "::ffff:10.0.0.1", "100.127.0.1", "64:ff9b::7f00:1"]) {
    t.equal(whyRefused(ip, "http:", true), undefined, ip);
    t.equal(whyRefused(ip, "wss:", true), undefined, ip);
    t.match(whyRefused(ip, "https:", false), /private network/, ip);
  }
  for (const ip of ["203.0.113.7", "2a00::1", "::ffff:8.8.8.8", "64:ff9b::808:808"]) {
    t.equal(whyRefused(ip, "https:", false), undefined, ip);
    for (const protocol of ["http:", "ws:"]) t.match(whyRefused(ip, protocol, true), /plain http/, `${protocol} ${ip}`);
  }
  for (const ip of ["169.254.169.254", "fe80::1%eth0", "0.0.0.0", "::", "224.0.0.1", "ff02::1", "nonsense", ""])
    t.ok(whyRefused(ip, "https:", true), ip);
});

/** A listener on loopback that counts who comes, and says nothing. */
async function trap(t: Test): Promise<{ port: number; came: () => number }> {
  let came = 0;
  const server = net.createServer((socket) => {
    came++;
    socket.destroy();
  });
  server.listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  t.teardown(() => server.close());
  return { port: (server.address() as AddressInfo).port, came: () => came };
}

/** Lets every name resolve to these addresses. */
function resolveTo(t: Test, ...addresses: string[]): void {
  const { lookup } = dns;
  t.teardown(() => {
    dns.lookup = lookup;
  });
  dns.lookup = ((_name: string, _options: object, done: (error: null, found: dns.LookupAddress[]) => void) =>
    done(
      null,
      addresses.map((address) => ({ address, family: net.isIP(address) })),
    )) as typeof dns.lookup;
}

t.test("a name that leads elsewhere when it is connected to (DNS rebinding)", async (t) => {
  const { port, came } = await trap(t);
  const both = (url: string, mayBePrivate: boolean): (() => Promise<unknown>)[] => [
    () => checkPrimary({ url, mayBePrivate }, "key"),
    () => connectChannel({ url, mayBePrivate }, "token", 100, 1000, { in: 0, out: 0 }),
  ];
  const url = `https://sync.acme.example:${port}`;
  for (const addresses of [["127.0.0.1"], ["::1", "127.0.0.1"], ["::ffff:127.0.0.1"], ["169.254.169.254"]]) {
    resolveTo(t, ...addresses);
    for (const attempt of both(url, false))
      await t.rejects(attempt(), { code: "unreachable", message: `${addresses[0]}, wh` }, addresses.join());
  }
  for (const host of ["127.0.0.1", "[::ffff:127.0.0.1]", "2130706433"])
    for (const attempt of both(`https://${host}:${port}`, false)) await t.rejects(attempt(), { code: "unreachable" });
  t.equal(came(), 0, "nobody was connected to");

  resolveTo(t, "203.0.113.7");
  for (const attempt of both("http://primary.internal", true))
    await t.rejects(
      attempt(),
      { code: "unreachable", message: /plain http/ },
      "plain http never leaves the private network",
    );

  resolveTo(t, "127.0.0.1");
  for (const attempt of both(url, true)) await t.rejects(attempt(), { code: "network" }, "allowed, and hung up on");
  t.equal(came(), 2);
  resolveTo(t, "169.254.1.1", "127.0.0.1");
  for (const attempt of both(url, true)) await t.rejects(attempt(), { code: "network" });
  t.equal(came(), 4, "of several addresses those that may be");
});

async function adminOf(server: TestServer): Promise<string> {
  await addUser(server.app.db, { name: "admin", role: roles.admin, companyId: server.app.server.serverId, password });
  return server.loginAs("admin");
}

t.test("an address that comes over REST", async (t) => {
  const { port, came } = await trap(t);
  const server = await serverOf(t, "secondary");
  const admin = await adminOf(server);
  const addresses = [
    `http://127.0.0.1:${port}`,
    `https://127.0.0.1:${port}`,
    ...[...privateForms, ...nowhereForms].map((host) => `https://${host}`),
  ];
  const { id } = (await server.post("/companies", admin, { name: "Acme", sync_addr: "https://sync.acme.example/" }))
    .json;
  for (const address of addresses) {
    const post = await server.post("/companies", admin, { name: "Evil", sync_addr: address });
    t.match(post, { status: 400, json: { code: "usage" } }, address);
    const patch = await server.call("PATCH", `/companies/${id}`, { token: admin, body: { sync_addr: address } });
    t.match(patch, { status: 400, json: { code: "usage" } }, address);
    t.match(
      await server.post(`/sync/${encodeURIComponent(address)}?wait=yes`, admin, {}),
      { status: 404 },
      "never dialled",
    );
  }
  t.equal(came(), 0);
  t.match(await server.get(`/companies/${id}`, admin), { json: { sync_addr: "https://sync.acme.example" } });
  t.equal((await server.call("PATCH", `/companies/${id}`, { token: admin, body: {} })).status, 400);
  t.equal(
    (await server.post("/companies", admin, { name: "Evil", sync_addr: "http://sync.acme.example" })).status,
    400,
  );
  const own = `/companies/${server.app.server.serverId}`;
  t.equal((await server.call("PATCH", own, { token: admin, body: { sync_addr: "https://a.example" } })).status, 400);

  // What is moved over REST takes no key with it, and has the rights of REST.
  const { db, config } = server.app;
  const sealed = sealApiKey("key", id, requireSecret(config, "partner_key"));
  const operator = { url: `https://sync.acme.example:${port}`, mayBePrivate: true };
  await setSyncCredentials(db, id, sealed, operator);
  const moved = `https://other.acme.example:${port}`;
  await server.call("PATCH", `/companies/${id}`, { token: admin, body: { sync_addr: operator.url } });
  t.ok(await readSealedKey(db, id), "the same address again: nothing changes");
  await server.call("PATCH", `/companies/${id}`, { token: admin, body: { sync_addr: moved } });
  t.equal(await readSealedKey(db, id), undefined);
  t.match(await findCompany(db, id), { syncAddr: moved, syncPrivate: false });

  // The key stored again for that very address, its name then leads to loopback: the run is refused.
  await setSyncCredentials(db, id, sealed, { url: moved, mayBePrivate: false });
  resolveTo(t, "127.0.0.1");
  const options = { ...plainRun, rehearsal: true };
  const runOf = async () =>
    runPartner(server.app, (await findCompany(db, id))!, { options, runId: crypto.randomUUID() });
  t.match(await runOf(), { exitCode: 3, error: { code: "unreachable", message: /private network; nothing was sent/ } });
  t.equal(came(), 0);
  await setSyncCredentials(db, id, sealed, operator);
  t.match(await runOf(), { exitCode: 3, error: { code: "network" } }, "what the operator gave may lead there");
  t.ok(came() > 0);
});

t.test("where the configuration allows it", async (t) => {
  const settings = { SANDPIPER_SERVER_ALLOW_PRIVATE_ADDRESSES: "true" };
  const server = await serverOf(t, "secondary", { settings });
  const admin = await adminOf(server);
  const made = await server.post("/companies", admin, { name: "Acme", sync_addr: "http://127.0.0.1:1" });
  t.match(made, { status: 201, json: { sync_addr: "http://127.0.0.1:1" } });
  t.match(await findCompany(server.app.db, made.json.id), { syncPrivate: true });
  t.equal((await server.post("/companies", admin, { name: "B", sync_addr: "https://169.254.169.254" })).status, 400);
});

t.test("a primary calls nobody", async (t) => {
  const server = await serverOf(t, "primary");
  const { admin, epicorId } = await cast(server);
  const body = { sync_addr: "https://sync.acme.example" };
  t.equal((await server.post("/companies", admin, { name: "X", ...body })).status, 400);
  t.equal((await server.call("PATCH", `/companies/${epicorId}`, { token: admin, body })).status, 400);
});
