/** `sync --retry-for`: what fails for the moment is tried again, by the real command against real servers. */
import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import t, { type Test } from "tap";
import type { Running } from "../harness/process.ts";
import { addLines, events, introduce, makePair, offer, Party } from "./parties.ts";

t.setTimeout(180_000);

const outcomes = (stdout: string) =>
  events(stdout)
    .filter(({ event }) => event === "slice")
    .map(({ subscription, outcome }) => `${subscription} ${outcome}`);
const retries = (stdout: string) => events(stdout).filter(({ event }) => event === "retry");

/** Waits for what a process is to come to. @throws with what it printed. */
async function until(condition: () => boolean, run: Running): Promise<void> {
  const deadline = Date.now() + 60_000;
  let ended = false;
  run.exited.then(
    () => {
      ended = true;
    },
    () => {},
  );
  while (!condition()) {
    if (ended || Date.now() > deadline) throw new Error(`it did not come to that:\n${run.stdout()}\n${run.stderr()}`);
    await sleep(20);
  }
}

/** A server of the test's own, and what it answers. */
async function stub(t: Test, listener: RequestListener): Promise<{ server: Server; url: string }> {
  const server = createServer(listener).listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  t.teardown(() => server.close());
  return { server, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}

async function moveTo(secondary: Party, url: string): Promise<void> {
  await (await secondary.db()).run("UPDATE companies SET sync_addr = $1 WHERE name = 'ABC Brakes'", [url]);
}

t.test("a primary that comes back is synced by the run that found it gone", async (t) => {
  const { primary, secondary } = await makePair(t);
  await offer(primary, "parts", "aces-items", secondary);
  await primary.batch("parts", addLines(0, 20));
  const { port } = new URL(primary.server!.url);
  await primary.server!.kill9();
  const run = secondary.start(["sync"]);
  await until(() => run.stderr().includes("next try in"), run);
  const quiet = secondary.start(["sync", "--quiet", "--wait", "60"]);
  t.match(run.stderr(), /^ABC Brakes: cannot reach http:.*: nothing listens there; next try in \d+ s\n/);
  await primary.serve({ port });
  t.equal((await run.exited).code, 0, run.stderr());
  t.match(run.stdout(), "parts-Epicor: updated: 20 grains added");
  t.same(await secondary.content(), await primary.content());
  t.equal((await quiet.exited).code, 0);
  t.same([quiet.stdout(), quiet.stderr()], ["", ""], "with --quiet not a word");
});

t.test("a slice that is locked is tried again alone, and reported once", async (t) => {
  const { primary, secondary } = await makePair(t);
  for (const name of ["a", "b", "c"]) {
    await offer(primary, name, "aces-items", secondary);
    await primary.batch(name, addLines(0, 10));
  }
  await primary.ok(["slice", "lock", "b"]);
  const rehearsal = secondary.start(["sync", "--noupdate", "--json", "--retry-for", "60"]);
  await until(() => retries(rehearsal.stdout()).length > 0, rehearsal);
  t.same(outcomes(rehearsal.stdout()), ["a-Epicor would-update", "c-Epicor would-update"]);
  await primary.ok(["slice", "unlock", "b"]);
  t.equal((await rehearsal.exited).code, 0, "a rehearsal tries again too");
  t.same(outcomes(rehearsal.stdout()), ["a-Epicor would-update", "c-Epicor would-update", "b-Epicor would-update"]);

  await primary.ok(["slice", "lock", "b"]);
  const run = secondary.start(["sync", "--json", "--retry-for", "60"]);
  await until(() => retries(run.stdout()).length >= 2, run);
  t.match(retries(run.stdout())[0], { company: "ABC Brakes", wait_ms: Number, error: { code: "deferred" } });
  t.same(outcomes(run.stdout()), ["a-Epicor updated", "c-Epicor updated"]);
  await primary.ok(["slice", "unlock", "b"]);
  t.equal((await run.exited).code, 0, run.stdout());
  t.same(outcomes(run.stdout()), ["a-Epicor updated", "c-Epicor updated", "b-Epicor updated"]);
  t.match(events(run.stdout()).at(-1), { updated: 3, deferred: 0, unchanged: 0 });
  t.same(await secondary.content(), await primary.content());
  for (const party of [primary, secondary]) {
    const rows = JSON.parse(await party.ok(["activity", "--json"])) as { test: boolean; outcome: string }[];
    t.same(
      rows.filter(({ test }) => !test).map(({ outcome }) => outcome),
      ["updated", "updated", "updated"],
      `${party.role}: it is on record with its final outcome`,
    );
  }
});

t.test("one that stays locked is reported once, when the time has passed", async (t) => {
  const { primary, secondary } = await makePair(t);
  await offer(primary, "parts", "aces-items", secondary);
  await primary.ok(["slice", "lock", "parts"]);
  const started = performance.now();
  const run = await secondary.run(["sync", "--json", "--retry-for", "4"]);
  const took = performance.now() - started;
  t.equal(run.code, 7);
  t.ok(took > 4000 && took < 8000, `${Math.round(took)} ms`);
  t.ok(retries(run.stdout).length >= 2);
  t.same(outcomes(run.stdout), ["parts-Epicor deferred"]);
  t.match(JSON.parse(await secondary.ok(["activity", "--json"])), [{ outcome: "deferred" }]);
  t.match(JSON.parse(await primary.ok(["activity", "--json"])), [{ outcome: "deferred" }], "the primary knows as well");
});

t.test("a connection that is lost in the middle: what was done is not done again", async (t) => {
  const { primary, secondary } = await makePair(t);
  for (const name of ["a", "b"]) {
    await offer(primary, name, "aces-items", secondary);
    await primary.batch(name, addLines(0, 200));
  }
  const { port } = new URL(primary.server!.url);
  await primary.server!.stop();
  const failpoint = new URL("../harness/failpoint.js", import.meta.url).href;
  await primary.serve({ port, nodeArgs: ["--import", failpoint], env: { SP_FP: "p.grains:2:kill" } });
  const run = secondary.start(["sync", "--json"]);
  t.equal((await primary.server!.exited).signal, "SIGKILL");
  await until(() => retries(run.stdout()).length > 0, run);
  await primary.serve({ port });
  t.equal((await run.exited).code, 0, run.stdout() + run.stderr());
  t.same(outcomes(run.stdout()), ["a-Epicor updated", "b-Epicor updated"]);
  t.same(await secondary.content(), await primary.content());
});

t.test("a primary that is away keeps no other waiting", async (t) => {
  const secondary = await Party.make(t, "secondary", "Epicor");
  const primaries: Party[] = [];
  for (const name of ["First", "Second"]) {
    const primary = await Party.make(t, "primary", name);
    await primary.serve();
    await introduce(primary, secondary);
    await offer(primary, `parts-${name}`, "aces-items", secondary);
    primaries.push(primary);
  }
  await primaries[0]!.server!.kill9();
  const started = performance.now();
  const run = secondary.start(["sync", "--json", "--jobs", "1", "--retry-for", "6"]);
  await until(() => events(run.stdout()).some(({ event }) => event === "partner"), run);
  t.ok(performance.now() - started < 5000, "the second is done while the first is waited for");
  t.match(
    events(run.stdout()).find(({ event }) => event === "partner"),
    { company: "Second", exit_code: 0 },
  );
  t.equal((await run.exited).code, 3);
});

t.test("SIGINT and SIGTERM end the wait at once", async (t) => {
  const { primary, secondary } = await makePair(t);
  await primary.server!.kill9();
  for (const [signal, code] of [
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ] as const) {
    const run = secondary.start(["sync"]);
    // A long wait: the fifth may take up to 16 seconds.
    await until(() => /next try in ([3-9]|1\d) s/.test(run.stderr()), run);
    const started = performance.now();
    run.kill(signal);
    t.equal((await run.exited).code, code, run.stderr());
    t.ok(performance.now() - started < 1500, "at once");
  }
});

t.test("Retry-After, on the login, the list and the upgrade", async (t) => {
  const { primary, secondary } = await makePair(t);
  await offer(primary, "parts", "aces-items", secondary);
  const real = primary.server!.url;
  const paths = { login: "/v1/login", list: "/v1/sync/subs", upgrade: "/v1/sync" };
  for (const [name, refused] of Object.entries(paths)) {
    const asked: number[] = [];
    let after = "2";
    const { server, url } = await stub(t, (request, response) => {
      if (request.url === refused) {
        asked.push(performance.now());
        if (asked.length === 1) {
          response.writeHead(503, { "retry-after": after, "content-type": "application/json" }).end("{}");
          return;
        }
      }
      const parts: Buffer[] = [];
      request.on("data", (part: Buffer) => parts.push(part));
      request.on("end", async () => {
        const { host: _host, connection: _connection, ...headers } = request.headers as Record<string, string>;
        const body = request.method === "POST" ? { body: Buffer.concat(parts) } : {};
        const answer = await fetch(real + request.url, { method: request.method!, headers, ...body });
        response.writeHead(answer.status, { "content-type": answer.headers.get("content-type")! });
        response.end(Buffer.from(await answer.arrayBuffer()));
      });
    });
    server.on("upgrade", (_request, socket) => {
      asked.push(performance.now());
      socket.end(`HTTP/1.1 503 Busy\r\nRetry-After: ${after}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`);
      // From the second time on the websocket goes to the real one.
      if (refused === paths.upgrade) void moveTo(secondary, real);
    });
    await moveTo(secondary, url);
    const run = secondary.start(["sync", "--json", "--retry-for", "5", "--allow-drops"]);
    await until(() => retries(run.stdout()).length > 0, run);
    const [first] = retries(run.stdout());
    t.match(first, { error: { message: /busy or failing \(HTTP 503\)/ } }, `${name}: ${run.stdout()}`);
    t.ok(first.wait_ms >= 2000 && first.wait_ms <= 3000, `${name}: waits ${first.wait_ms} ms`);
    await run.exited;
    if (name !== "upgrade") t.ok(asked[1]! - asked[0]! >= 1900, `${name}: and comes back then`);

    asked.length = 0;
    after = new Date(Date.now() + 3_600_000).toUTCString();
    await moveTo(secondary, url);
    const started = performance.now();
    const long = await secondary.run(["sync", "--retry-for", "100"]);
    t.equal(long.code, 3);
    t.ok(performance.now() - started < 5000, `${name}: it does not wait for what is too late`);
    t.match(long.stderr, /asks us to come back in 3\d\d\d seconds\n {2}.*--retry-for/, name);
    await moveTo(secondary, real);
  }
});

t.test("what waiting does not mend is not waited for", async (t) => {
  const { primary, secondary } = await makePair(t);
  await offer(primary, "parts", "aces-items", secondary);
  const { url } = await stub(t, (_request, response) => response.writeHead(500).end());
  for (const [address, code, message] of [
    [url, 3, "busy or failing (HTTP 500)"],
    [`http://${"a".repeat(64)}.localhost`, 3, "that is not the name of a host"],
  ] as const) {
    await moveTo(secondary, address);
    const started = performance.now();
    const run = await secondary.run(["sync", "--json"]);
    t.equal(run.code, code, run.stdout);
    t.match(events(run.stdout)[0].error.message, message);
    t.same(retries(run.stdout), []);
    t.ok(performance.now() - started < 8000);
  }
  await moveTo(secondary, "http://no-such-host.invalid");
  const unknown = await secondary.run(["sync", "--json", "--retry-for", "1"]);
  t.equal(unknown.code, 3);
  t.ok(retries(unknown.stdout).length > 0, "a name that is not known may be tomorrow");
});
