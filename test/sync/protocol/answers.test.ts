/** What a primary's answers before the websocket may be: few bytes, or a list that is taken row by row. */
import { createServer, type RequestListener } from "node:http";
import { type AddressInfo, createServer as tcp } from "node:net";
import fc from "fast-check";
import t, { type Test } from "tap";
import { JsonRows } from "../../../src/sync/protocol/json-rows.ts";
import { fetchOffers, login } from "../../../src/sync/transport/primary-client.ts";

const company = "43905ed5-196b-44cb-a796-e0313430fa2c";
const id = (n: number, kind: string) => `${n.toString(16).padStart(8, "0")}-0000-4000-${kind}-000000000000`;
const row = (n: number, more: object = {}) => ({
  id: id(n, "8000"),
  company_id: company,
  name: `subscription ${n}`,
  active: true,
  slice: { id: id(n, "9000"), slice_name: `slice ${n}`, slice_type: "aces-items" },
  ...more,
});

/** A primary that answers so to everything. */
async function primary(test: Test, answer: RequestListener) {
  const server = createServer(answer).listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  test.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, mayBePrivate: true };
}

/** Writes the piece again and again, as fast as it is taken, until `times` or until nobody takes it. */
const pour =
  (status: number, type: string, before: string, piece: string, times: number, after = ""): RequestListener =>
  (request, response) => {
    request.resume();
    response.writeHead(status, { "content-type": type });
    response.write(before);
    let left = times;
    const more = () => {
      for (;;) {
        if (response.destroyed) return;
        if (left-- <= 0) return void response.end(after);
        if (!response.write(piece)) return void response.once("drain", more);
      }
    };
    more();
  };

const traffic = () => ({ in: 0, out: 0 });
const identity = { token: "t", serverId: company, companyId: company };
const megabyte = "x".repeat(1024 * 1024);

t.test("an answer to the login has a few kilobytes", async (t) => {
  for (const [name, type, before] of [
    ["a token of 64 MiB", "application/json", '{"token":"'],
    ["members for ever", "application/json", "{"],
  ] as const) {
    const there = await primary(t, pour(200, type, before, before === "{" ? '"x":0,'.repeat(10_000) : megabyte, 64));
    const passed = traffic();
    await t.rejects(login(there, "key", passed), { code: "limit", message: /more than 16384 bytes/ }, name);
  }
  const good = await primary(t, (_request, response) => {
    response.writeHead(200, { "content-type": "application/json" });
    response.end(JSON.stringify({ token: "x".repeat(8192), server_id: company, company_id: company, more: 1 }));
  });
  t.match(await login(good, "key", traffic()), { serverId: company });
});

t.test("of an answer that says no, nothing is read", async (t) => {
  for (const [status, code] of [
    [401, "auth"],
    [403, "auth"],
    [404, "protocol"],
    [429, "network"],
    [500, "unreachable"],
    [503, "network"],
    [302, "protocol"],
    [204, "protocol"],
  ] as const) {
    let written = 0;
    const there = await primary(t, (request, response) => {
      pour(status, "application/json", "{", megabyte, 64)(request, response);
      response.once("close", () => {
        written = response.socket?.bytesWritten ?? written;
      });
    });
    await t.rejects(login(there, "key", traffic()), { code }, `${status}`);
    t.ok(written < 16 * 1024 * 1024, `${status}: ${written} bytes were sent`);
  }
});

t.test("an answer that is none does not end the process", async (t) => {
  for (const text of [
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    "HTTP/1.1 100 Continue\r\n\r\n".repeat(1000),
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 5\r\n\r\n{",
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nfffffffff\r\n",
    `HTTP/1.1 200 OK\r\n${"X: y\r\n".repeat(20_000)}`,
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{{",
    "noise",
    "",
  ]) {
    const server = tcp((socket) => {
      socket.on("error", () => {});
      socket.once("data", () => socket.end(text));
    }).listen(0, "127.0.0.1");
    await new Promise((resolve) => server.once("listening", resolve));
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    await t.rejects(
      login({ url, mayBePrivate: true }, "key", traffic()),
      { name: "SandpiperError" },
      text.slice(0, 40),
    );
    server.close();
  }
});

t.test("an answer without a length ends with its connection", async (t) => {
  const answer = JSON.stringify({ token: "t", server_id: company, company_id: company });
  const server = tcp((socket) => {
    socket.once("data", () => {
      socket.write("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n");
      setTimeout(() => socket.end(answer), 20);
    });
  }).listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  t.match(await login({ url, mayBePrivate: true }, "key", traffic()), { serverId: company });
  server.close();
});

t.test("a list of subscriptions is taken row by row, and no more than may be", async (t) => {
  const rows = Array.from({ length: 2000 }, (_, n) => row(n));
  const whole = await primary(t, pour(200, "application/json", JSON.stringify(rows), "", 0));
  const { rows: offers } = await fetchOffers(whole, identity, null, 2000, traffic());
  t.equal(offers!.length, 2000);
  t.same(offers![7], {
    id: id(7, "8000"),
    name: "subscription 7",
    description: "",
    active: true,
    slice: { id: id(7, "9000"), name: "slice 7", type: "aces-items" },
  });
  await t.rejects(fetchOffers(whole, identity, null, 1999, traffic()), {
    code: "limit",
    message: "the primary lists more than the 1999 subscriptions that are accepted",
  });

  const bad: [string, string, string, number, string, { code: string; message: RegExp }][] = [
    ["no end of rows", "[", `${JSON.stringify(row(1))},`, 1e9, "", { code: "protocol", message: /twice/ }],
    ["a row without an end", '["', megabyte, 1e9, "", { code: "protocol", message: /entry of more than 65536/ }],
    ["rows that are deep", `[${"[".repeat(1e5)}`, "[", 1e9, "", { code: "protocol", message: /entry of more than/ }],
    ["numbers", "[", "0,", 1e6, "0]", { code: "protocol", message: /not as it must be/ }],
    ["blanks for ever", "", " ".repeat(1e6), 1e9, "", { code: "limit", message: /more than/ }],
    ["an object", "{}", "", 0, "", { code: "protocol", message: /is not a list/ }],
    ["two lists", "[][]", "", 0, "", { code: "protocol", message: /is not a list/ }],
    ["half a list", `[${JSON.stringify(row(1))}`, "", 0, "", { code: "protocol", message: /cut short/ }],
    ["what is no JSON", "[nonsense]", "", 0, "", { code: "protocol", message: /is not JSON/ }],
    ["nothing between commas", "[,]", "", 0, "", { code: "protocol", message: /is not JSON/ }],
  ];
  for (const [name, before, piece, times, after, error] of bad) {
    const there = await primary(t, pour(200, "application/json", before, piece, times, after));
    const memory = process.memoryUsage().rss;
    const begun = performance.now();
    await t.rejects(fetchOffers(there, identity, null, 100, traffic()), error, name);
    t.ok(performance.now() - begun < 5000, `${name}: at once`);
    t.ok(process.memoryUsage().rss - memory < 60e6, `${name}: ${process.memoryUsage().rss - memory} bytes`);
  }
});

t.test("an array in pieces is cut as it is when it is whole", async (t) => {
  const blanks = fc.constantFrom("", " ", "\n\t ", "\r\n");
  fc.assert(
    fc.property(
      fc.array(fc.oneof(fc.jsonValue(), fc.constantFrom('a"b', "\\", '\\"', "[,]", "{]}", "ö😀"))),
      blanks,
      fc.array(fc.integer({ min: 1, max: 9 })),
      (values, blank, cuts) => {
        const text = `${blank}[${values.map((value) => `${blank}${JSON.stringify(value)}${blank}`).join(",")}]${blank}`;
        const bytes = Buffer.from(text);
        const rows = new JsonRows("the list", 1e6);
        const found: unknown[] = [];
        let at = 0;
        for (const cut of cuts) {
          found.push(...rows.take(bytes.subarray(at, at + cut)));
          at += cut;
        }
        found.push(...rows.take(bytes.subarray(at)));
        rows.end();
        t.same(found, JSON.parse(text));
      },
    ),
    { numRuns: 200 },
  );
});
