/** `sandpiper serve` while partners sync: stopping, tokens that run out, several addresses, and syncs ordered over REST. */
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { type AddressInfo, connect } from "node:net";
import t from "tap";
import { WebSocket } from "ws";
import { addLines, makePair, offer, type Party } from "./parties.ts";
import { partnerToken } from "./raw-partner.ts";

t.setTimeout(180_000);

const failpoint = new URL("../harness/failpoint.js", import.meta.url).href;

async function token(party: Party, body: object): Promise<string> {
  const answer = await fetch(`${party.server!.url}/v1/login`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  return ((await answer.json()) as { token: string }).token;
}

t.test("SIGTERM lets a running sync finish, refuses the next, and ends with 0", async (t) => {
  const { primary, secondary } = await makePair(t);
  await offer(primary, "parts", "aces-items", secondary);
  await primary.batch("parts", addLines(0, 3000, 2000));
  if (process.platform === "linux")
    t.match(
      readFileSync(`/proc/${primary.server!.pid}/maps`, "utf8"),
      /argon2.*\.node/,
      "what logins need is loaded before anybody logs in, while files can be opened",
    );
  const run = secondary.start(["sync"], { nodeArgs: ["--import", failpoint], env: { SP_FP: "s.stage:1:sleep:1500" } });
  const db = await secondary.db();
  while ((await db.query("SELECT 1 FROM staging")).length === 0)
    await new Promise((resolve) => setTimeout(resolve, 20));
  const stopped = primary.server!.stop();
  await new Promise((resolve) => setTimeout(resolve, 200));
  const late = await secondary.run(["sync", "--retry-for", "0"]);
  t.ok(late.code === 10 || late.code === 3, "a second one is refused");
  t.equal((await run.exited).code, 0, run.stderr());
  t.same(await stopped, { code: 0, signal: null });
  t.same(await secondary.content(), await primary.content());
});

t.test("a slice that is damaged at the primary fails alone, and the primary's log says why", async (t) => {
  const { primary, secondary } = await makePair(t);
  for (const name of ["file", "list", "sound"])
    await offer(primary, name, name === "file" ? "binary-blob" : "aces-items", secondary);
  const large = {
    grain_key: "level-1",
    source: "f",
    encoding: "b64" as const,
    payload: Buffer.alloc(2_500_000).toString("base64"),
  };
  await primary.batch("file", [{ add: large }]);
  await primary.batch("list", addLines(0, 3));
  await secondary.ok(["sync"]);
  await primary.batch("file", [{ delete_all: true }, { add: { ...large, source: "g" } }]);
  await primary.batch("list", addLines(3, 3));
  await primary.batch("sound", addLines(0, 3));
  const before = await secondary.content();
  const db = await primary.db();
  await db.run("DELETE FROM grain_chunks WHERE seq = 1");
  await db.run("DELETE FROM grains WHERE content_key = (SELECT content_key FROM slices WHERE name = 'list')");
  const run = await secondary.run(["sync", "--retry-for", "0"]);
  t.equal(run.code, 3, run.stderr);
  t.match(run.stderr, /the primary could not serve slice file[\s\S]*the primary could not serve slice list/);
  t.match(run.stdout, "sound-Epicor: updated");
  const after = await secondary.content();
  const changed = Object.keys(after).filter((id) => JSON.stringify(after[id]) !== JSON.stringify(before[id]));
  t.equal(changed.length, 1, "only the sound one has changed");
  const told = primary
    .server!.stderr()
    .split("\n")
    .filter((line) => line.includes("sync.slice_failed"));
  t.match(
    told.map((line) => JSON.parse(line) as unknown),
    [
      {
        code: "storage",
        reason: /^chunk 1 of grain .* is not stored$/,
        hint: /slice refresh/,
        company: "Epicor",
      },
      { code: "storage", reason: /has 0 grains, and says 6$/, slice_id: /./ },
    ],
  );
});

t.test("a token that runs out in the middle is renewed", async (t) => {
  const { primary, secondary } = await makePair(t);
  for (const name of ["a", "b", "c"]) {
    await offer(primary, name, "aces-items", secondary);
    await primary.batch(name, addLines(0, 300));
  }
  const { port } = new URL(primary.server!.url);
  await primary.server!.stop();
  const skew = new URL("../harness/skew.js", import.meta.url).href;
  await primary.serve({ port, nodeArgs: ["--import", skew], env: { SP_SKEW: `p.grains:1:${16 * 60 * 1000}` } });
  const run = await secondary.run(["sync"]);
  t.equal(run.code, 0, run.stderr);
  t.same(await secondary.content(), await primary.content());
  t.equal(
    primary.server!.stderr().split('"path":"/v1/login"').length - 1,
    2,
    "it logged in once more, and not oftener",
  );
});

t.test("the upgrade refuses what it must, and what it accepts ends when the right ends", async (t) => {
  const { primary, secondary } = await makePair(t);
  await offer(primary, "parts", "aces-items", secondary);
  const url = primary.server!.url.replace("http", "ws");
  const good = await partnerToken(primary, "Epicor");
  const attempt = (path: string, protocol: string | undefined, headers: Record<string, string>) =>
    new Promise<number>((resolve) => {
      const socket = new WebSocket(`${url}${path}`, protocol === undefined ? [] : [protocol], { headers });
      socket.on("unexpected-response", (request, response) => {
        resolve(response.statusCode!);
        request.destroy();
      });
      socket.on("open", () => {
        resolve(101);
        socket.close();
      });
      socket.on("error", () => {});
    });
  const bearer = { authorization: `Bearer ${good}` };
  const ours = "sandpiper.sync.2";
  t.equal(await attempt("/sync", ours, bearer), 101);
  t.equal(await attempt("/v1/sync", ours, bearer), 101);
  t.equal(await attempt("/v1/sync", ours, {}), 401);
  t.equal(await attempt("/v1/sync", ours, { authorization: `Bearer ${good}x` }), 401);
  t.equal(await attempt("/v1/sync", ours, { ...bearer, origin: "https://evil.example" }), 403);
  t.equal(await attempt("/v1/sync", "sandpiper.sync.1", bearer), 400);
  t.equal(await attempt("/v1/sync", undefined, bearer), 400);
  t.equal(await attempt("/v1/slices", ours, bearer), 404);
  t.equal(
    await attempt("/v1/sync", ours, { authorization: `Bearer ${await adminToken(primary)}` }),
    403,
    "an admin is no partner",
  );

  const open = Array.from({ length: 5 }, () => new WebSocket(`${url}/v1/sync`, [ours], { headers: bearer }));
  await Promise.all(open.map((socket) => new Promise((resolve) => socket.once("message", resolve))));
  t.equal(await attempt("/v1/sync", ours, bearer), 429, "a sixth connection of one partner");
  const closed = Promise.all(open.map((socket) => new Promise<number>((resolve) => socket.once("close", resolve))));
  const started = Date.now();
  await primary.ok(["company", "deactivate", "Epicor"]);
  t.same(await closed, [4401, 4401, 4401, 4401, 4401], "switched off: closed");
  t.ok(Date.now() - started < 6000, "within seconds");
  await primary.ok(["company", "activate", "Epicor"]);

  const idle = new WebSocket(`${url}/v1/sync`, [ours], { headers: bearer });
  idle.once("message", () => idle.send("{"));
  t.equal(await new Promise((resolve) => idle.once("close", resolve)), 4400, "broken JSON");

  const replaced = new WebSocket(`${url}/v1/sync`, [ours], { headers: bearer });
  await new Promise((resolve) => replaced.once("message", resolve));
  await partnerToken(primary, "Epicor"); // with a new key, which ends the one before
  t.equal(await new Promise((resolve) => replaced.once("close", resolve)), 4401, "the key was replaced");
});

async function adminToken(party: Party): Promise<string> {
  const { code, stderr } = await party.run(["user", "add", "root", "--role", "super-admin"], {
    input: "a long password\n",
  });
  if (code !== 0 && !stderr.includes("already")) throw new Error(stderr);
  return token(party, { username: "root", password: "a long password" });
}

t.test("POST /sync/{primary} does what the command does, for registered primaries only", async (t) => {
  const { primary, secondary } = await makePair(t);
  await offer(primary, "parts", "aces-items", secondary);
  await primary.batch("parts", addLines(0, 50));
  await secondary.serve();
  const bearer = { authorization: `Bearer ${await adminToken(secondary)}` };
  const call = async (method: string, path: string, headers: Record<string, string> = bearer) => {
    const answer = await fetch(`${secondary.server!.url}/v1${path}`, { method, headers });
    return { status: answer.status, body: (await answer.json()) as Record<string, unknown> };
  };
  const db = await secondary.db();
  const { id } = (await db.one<{ id: string }>("SELECT id FROM companies WHERE sync_addr IS NOT NULL"))!;
  t.match(await call("POST", `/sync/${id}?wait=yes&noupdate=yes`), { status: 200, body: { exit_code: 0, updated: 1 } });
  t.equal((await db.query("SELECT 1 FROM slices")).length, 0, "a rehearsal");
  const started = await call("POST", `/sync/${encodeURIComponent(primary.server!.url)}`);
  t.match(started, { status: 202, body: { run_id: /-/ } }, "by the address on file");
  let run = await call("GET", `/sync/runs/${started.body.run_id}`);
  while (run.body.finished_at === null) run = await call("GET", `/sync/runs/${started.body.run_id}`);
  t.match(run, { status: 200, body: { exit_code: 0, summary: { updated: 1, grains_added: 50 } } });
  t.same(await secondary.content(), await primary.content());

  let dialled = 0;
  const trap = createServer((_request, response) => {
    dialled++;
    response.end();
  }).listen(0, "127.0.0.1");
  await new Promise((resolve) => trap.once("listening", resolve));
  const bait = `http://127.0.0.1:${(trap.address() as AddressInfo).port}`;
  for (const address of [
    bait,
    `${bait}/`,
    bait.replace("http", "HTTP"),
    `${primary.server!.url}/`,
    `${primary.server!.url}@evil`,
    "//x",
    "169.254.169.254",
  ]) {
    t.equal((await call("POST", `/sync/${encodeURIComponent(address)}`)).status, 404, address);
  }
  t.equal(dialled, 0, "what a request names is never dialled");
  trap.close();
  t.equal((await call("POST", `/sync/${id}`, {})).status, 401);
  const many = await Promise.all(Array.from({ length: 50 }, () => call("POST", `/sync/${id}`)));
  const accepted = many.filter(({ status }) => status === 202).length;
  t.equal(accepted + many.filter(({ status }) => status === 409).length, 50);
  t.ok(accepted >= 1 && accepted < 50, `${accepted} of 50 orders at once were taken`);
});

t.test("an upgrade that is hung up at once leaves no place taken", async (t) => {
  const { primary } = await makePair(t);
  const bearer = await partnerToken(primary, "Epicor");
  const { hostname, port } = new URL(primary.server!.url);
  for (let n = 0; n < 60; n++) {
    await new Promise<void>((resolve) => {
      const socket = connect(Number(port), hostname, () => {
        socket.write(
          `GET /v1/sync HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n` +
            `Sec-WebSocket-Key: ${Buffer.alloc(16, n).toString("base64")}\r\nSec-WebSocket-Protocol: sandpiper.sync.2\r\nAuthorization: Bearer ${bearer}\r\n\r\n`,
          () => setTimeout(() => socket.resetAndDestroy(), n % 4),
        );
      });
      socket.on("error", () => {});
      socket.on("close", () => resolve());
    });
  }
  await new Promise((resolve) => setTimeout(resolve, 500));
  const open = Array.from(
    { length: 5 },
    () =>
      new WebSocket(`${primary.server!.url.replace("http", "ws")}/v1/sync`, ["sandpiper.sync.2"], {
        headers: { authorization: `Bearer ${bearer}` },
      }),
  );
  const opened = await Promise.all(
    open.map(
      (socket) =>
        new Promise<boolean>((resolve) => {
          socket.once("message", () => resolve(true));
          socket.once("error", () => resolve(false));
        }),
    ),
  );
  t.same(opened, [true, true, true, true, true]);
  for (const socket of open) socket.terminate();
});

t.test("SIGTERM lets a sync that was ordered over REST finish", async (t) => {
  const { primary, secondary } = await makePair(t);
  await offer(primary, "parts", "aces-items", secondary);
  await primary.batch("parts", addLines(0, 2000, 1000));
  await secondary.serve({ nodeArgs: ["--import", failpoint], env: { SP_FP: "s.tx.insert:1:sleep:1000" } });
  const bearer = { authorization: `Bearer ${await adminToken(secondary)}` };
  const db = await secondary.db();
  const { id } = (await db.one<{ id: string }>("SELECT id FROM companies WHERE sync_addr IS NOT NULL"))!;
  const ordered = await fetch(`${secondary.server!.url}/v1/sync/${id}`, { method: "POST", headers: bearer });
  t.equal(ordered.status, 202);
  t.same(await secondary.server!.stop(), { code: 0, signal: null });
  t.match(await db.query("SELECT exit_code, finished_at IS NOT NULL AS finished FROM sync_runs"), [
    { exit_code: 0, finished: true },
  ]);
  t.same(await secondary.content(), await primary.content());
});
