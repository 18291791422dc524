/** Every exit code that can be provoked, with the real command against real servers. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import t from "tap";
import { stepReached } from "../harness/steps.ts";
import { addLines, makePair, offer, Party } from "./parties.ts";

t.setTimeout(180_000);

t.test("exit codes", async (t) => {
  const { primary, secondary } = await makePair(t);
  await offer(primary, "parts", "aces-items", secondary);
  await primary.batch("parts", addLines(0, 150));
  const db = await secondary.db();

  await t.test("20: differences, when asked for", async (t) => {
    t.equal((await secondary.run(["sync", "--noupdate"])).code, 0);
    t.equal((await secondary.run(["sync", "--noupdate", "--detailed-exitcode"])).code, 20);
    t.equal((await secondary.run(["sync"])).code, 0);
    t.equal((await secondary.run(["sync", "--noupdate", "--detailed-exitcode"])).code, 0);
  });

  await t.test("0 and silence with --quiet", async (t) => {
    t.same(await secondary.run(["sync", "--quiet"]), { code: 0, signal: null, stdout: "", stderr: "" });
  });

  await t.test("2: usage and configuration, before anything is started", async (t) => {
    for (const args of [
      ["sync", "--nope"],
      ["sync", "extra"],
      ["sync", "--jobs", "0"],
      ["sync", "--wait", "1e3"],
      ["sync", "--retry-for", "-1"],
      ["sync", "--sub", "unknown"],
      ["sync", "--server.prot", "1"],
      ["sync", "--config", "missing.yaml"],
      ["sync", "--log.level", "loud"],
    ]) {
      const { code, stderr } = await secondary.run(args);
      t.equal(code, 2, args.join(" "));
      t.equal(stderr.split("\n").length, 3, stderr);
    }
    const wrong = await primary.run(["sync"]);
    t.equal(wrong.code, 2);
    t.match(wrong.stderr, "sync is only possible on a secondary");
  });

  await t.test("3: the primary is gone", async (t) => {
    const { port } = new URL(primary.server!.url);
    await primary.server!.stop();
    const { code, stderr } = await secondary.run(["sync", "--retry-for", "0"]);
    t.equal(code, 3);
    t.match(stderr, "nothing listens there");
    await primary.serve({ port });
    t.equal((await secondary.run(["sync"])).code, 0);
  });

  await t.test("4: something else answers", async (t) => {
    const answers: Record<string, [number, Record<string, string>, string]> = {
      html: [200, { "content-type": "text/html" }, "<html>Welcome to the hotel</html>"],
      redirect: [302, { location: "https://elsewhere.example/" }, ""],
      "other JSON": [200, { "content-type": "application/json" }, "{}"],
      "no such page": [404, { "content-type": "text/html" }, "nope"],
    };
    for (const [name, [status, headers, body]] of Object.entries(answers)) {
      const server = createServer((_request, response) => response.writeHead(status, headers).end(body)).listen(
        0,
        "127.0.0.1",
      );
      await new Promise((resolve) => server.once("listening", resolve));
      await db.run("UPDATE companies SET sync_addr = $1 WHERE name = 'ABC Brakes'", [
        `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
      ]);
      const { code, stderr } = await secondary.run(["sync"]);
      t.equal(code, 4, `${name}: ${stderr}`);
      const said = {
        html: /not a sandpiper server: it sent a web page \(HTTP 200\)\n.*captive portal/,
        redirect: /redirects to https:\/\/elsewhere.example, which is not followed\n/,
        "no such page": /not a sandpiper server: it sent a web page \(HTTP 404\)/,
      }[name];
      if (said !== undefined) t.match(stderr, said, name);
      server.close();
    }
    const other = await Party.make(t, "primary", "Impostor");
    await other.serve();
    await db.run("UPDATE companies SET sync_addr = $1 WHERE name = 'ABC Brakes'", [other.server!.url]);
    t.equal((await secondary.run(["sync"])).code, 5, "another primary refuses the key");
    await db.run("UPDATE companies SET sync_addr = $1 WHERE name = 'ABC Brakes'", [primary.server!.url]);
  });

  await t.test("5 and 4: a primary whose websocket is refused, by itself or by something in between", async (t) => {
    const us = await db.one<{ id: string }>("SELECT server_id AS id FROM server");
    const them = await db.one<{ id: string }>("SELECT id FROM companies WHERE name = 'ABC Brakes'");
    let logins = 0;
    const json = (body: unknown) => JSON.stringify(body);
    const server = createServer((request, response) => {
      response.setHeader("content-type", "application/json");
      if (request.url === "/v1/login") {
        logins++;
        response.end(json({ token: "x.y.z", server_id: them!.id, company_id: us!.id }));
      } else {
        const slice = { id: "00000000-0000-4000-8000-00000000000a", slice_name: "fake", slice_type: "aces-items" };
        const row = {
          id: "00000000-0000-4000-8000-00000000000b",
          company_id: us!.id,
          name: "fake",
          description: "a\0b",
          active: true,
          slice,
        };
        response.end(json([row]));
      }
    });
    let answer = "";
    server.on("upgrade", (_request, socket) =>
      socket.end(`HTTP/1.1 ${answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`),
    );
    server.listen(0, "127.0.0.1");
    await new Promise((resolve) => server.once("listening", resolve));
    await db.run("UPDATE companies SET sync_addr = $1 WHERE name = 'ABC Brakes'", [
      `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    ]);
    for (const [status, code, most] of [
      ["403 Forbidden", 5, 1],
      ["401 Unauthorized", 5, 2],
      ["404 Not Found", 4, 1],
      ["503 Busy", 3, 1],
      ["200 OK", 4, 1],
    ] as const) {
      answer = status;
      logins = 0;
      const run = await secondary.run(["sync", "--allow-drops", "--noupdate", "--retry-for", "0"]);
      t.equal(run.code, code, `${status}: ${run.stderr}`);
      if (code === 4)
        t.match(
          run.stderr,
          /accepts our login, but does not open a websocket: it answers with HTTP \d+\n.*Upgrade, Connection/,
        );
      t.ok(logins <= most, `${status}: ${logins} logins`);
    }
    await db.run("UPDATE companies SET sync_addr = $1 WHERE name = 'ABC Brakes'", [primary.server!.url]);
    server.close();
  });

  await t.test("5: the key was revoked", async (t) => {
    const admin = await primary.db();
    const keys = await admin.query("SELECT * FROM api_keys");
    await admin.run("UPDATE api_keys SET secret_hmac = sha256('other')");
    t.equal((await secondary.run(["sync"])).code, 5);
    await admin.run("UPDATE api_keys SET secret_hmac = $1", [(keys[0] as { secret_hmac: Buffer }).secret_hmac]);
  });

  await t.test("8: what arrives is not what was declared", async (t) => {
    const admin = await primary.db();
    await primary.batch("parts", addLines(200, 1));
    await admin.run("UPDATE slices SET hash = 'ffffffffffffffff'");
    const mended = await secondary.run(["sync"]);
    t.equal(mended.code, 0);
    t.match(mended.stderr, /damage was found: what was noted of slice parts at the primary did not fit its grains/);
    t.same(await secondary.content(), await primary.content());
    // It is counted again once an hour.
    const before = await secondary.content();
    await primary.batch("parts", addLines(201, 1));
    await admin.run("UPDATE slices SET hash = 'ffffffffffffffff'");
    const { code, stderr } = await secondary.run(["sync"]);
    t.equal(code, 8);
    t.match(stderr, "would not be what the primary declared");
    t.same(await secondary.content(), before);
    await primary.ok(["slice", "meta", "parts", "x=y"]);
    t.equal((await secondary.run(["sync"])).code, 0);
    t.same(await secondary.content(), await primary.content());
  });

  await t.test("9: local storage", async (t) => {
    await primary.batch("parts", addLines(300, 1));
    await db.run("SELECT 1");
    const down = await secondary.run(["sync"], {
      env: {
        SANDPIPER_DATABASE_URL: secondary.database.url.replace(secondary.database.name, "sandpiper_test_nothing"),
      },
    });
    t.equal(down.code, 9);
    const before = await secondary.content();
    const lock = db.transaction(async (tx) => {
      await tx.run("SELECT 1 FROM slices FOR UPDATE");
      return secondary.run(["sync"]);
    });
    const busy = await lock;
    t.equal(busy.code, 9);
    t.match(busy.stderr, "storage busy");
    t.same(await secondary.content(), before);
    t.equal((await secondary.run(["sync"])).code, 0);
  });

  await t.test("10: another sync is running; --wait waits; a kill -9 lets go", async (t) => {
    await primary.batch("parts", addLines(400, 1));
    const log = join(secondary.directory, "steps");
    const first = secondary.start(["sync"], {
      nodeArgs: ["--import", failpoint],
      env: { SP_FP: "s.tx.verify:1:sleep:4000", SP_FP_LOG: log },
    });
    await stepReached(log, "s.tx.verify 1");
    const second = await secondary.run(["sync"]);
    t.equal(second.code, 10);
    t.match(second.stderr, `sandpiper sync pid ${first.pid} on `);
    const waited = await secondary.run(["sync", "--wait", "30"]);
    t.equal(waited.code, 0, waited.stderr);
    t.equal((await first.exited).code, 0);

    await primary.batch("parts", addLines(500, 1));
    const killed = await secondary.run(["sync"], {
      nodeArgs: ["--import", failpoint],
      env: { SP_FP: "s.tx.verify:1:kill" },
    });
    t.equal(killed.signal, "SIGKILL");
    const next = await secondary.run(["sync", "--wait", "5"]);
    t.equal(next.code, 0, next.stderr);
    t.same(await secondary.content(), await primary.content());
  });

  await t.test("11: the safety stop", async (t) => {
    const before = await secondary.content();
    await primary.batch("parts", [{ delete_all: true }, ...addLines(0, 60)]);
    const { code, stderr } = await secondary.run(["sync"]);
    t.equal(code, 11);
    t.match(stderr, /would go from \d+ grains to 60/);
    t.same(await secondary.content(), before);
    t.equal((await secondary.run(["sync", "--noupdate"])).code, 11, "a rehearsal says so too");
    t.equal((await secondary.run(["sync", "--allow-drops"])).code, 0);
    await primary.batch("parts", [{ delete_all: true }]);
    t.equal((await secondary.run(["sync"])).code, 11, "nor is it emptied");
    t.equal((await secondary.run(["sync", "--allow-drops"])).code, 0);
  });

  await t.test("130 and 143: rolled back", async (t) => {
    for (const [signal, code] of [
      ["SIGINT", 130],
      ["SIGTERM", 143],
    ] as const) {
      const before = await secondary.content();
      await primary.batch("parts", addLines(code * 10, 3));
      const log = join(secondary.directory, `steps ${code}`);
      const run = secondary.start(["sync"], {
        nodeArgs: ["--import", failpoint],
        env: { SP_FP: "s.tx.insert:1:sleep:3000", SP_FP_LOG: log },
      });
      await stepReached(log, "s.tx.insert 1");
      run.kill(signal);
      t.equal((await run.exited).code, code, run.stderr());
      t.same(await secondary.content(), before);
      t.equal((await secondary.run(["sync", "--wait", "5"])).code, 0);
      t.same(await secondary.content(), await primary.content());
    }
  });
});

const failpoint = new URL("../harness/failpoint.js", import.meta.url).href;
