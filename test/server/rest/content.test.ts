/** Batches, single grains, and the slice as one document. */
import { randomUUID } from "node:crypto";
import net from "node:net";
import t from "tap";
import { cast, serverOf, sliceWithGrains } from "../support.ts";

const server = await serverOf(t, "primary");
const who = await cast(server);
const { admin } = who;
const newSlice = async (name: string): Promise<string> =>
  (await server.post("/slices", admin, { name, slice_type: "aces-items" })).json.id;
const add = (grain_key: string, payload = `payload ${grain_key}`, rest: object = {}) => ({
  add: { grain_key, encoding: "raw", payload, ...rest },
});
const state = async (id: string) => {
  const slice = (await server.get(`/slices/${id}`, admin)).json;
  return { hash: slice.content_hash, grains: (await server.get(`/sync/slice/${id}`, admin)).text };
};

t.test("a batch adds, replaces and deletes", async (t) => {
  const id = await newSlice("Batch");
  const first = await server.batch(id, admin, [add("a"), add("b", "", { source: "b.xml" }), { metadata: { k: "v" } }]);
  t.match(first, { status: 200, json: { grains_added: 2, grains_removed: 0, content_count: 2 } });
  t.equal(first.json.hash, (await server.get(`/slices/${id}`, admin)).json.hash);
  const old = (await server.get(`/grains/${id}/a`, admin)).json.id;
  const second = await server.batch(id, admin, [{ delete: old.toUpperCase() }, add("a", "new"), { delete_key: "b" }]);
  t.match(second.json, { grains_added: 1, grains_removed: 2, content_count: 1 });
  const replaced = (await server.get(`/grains/${id}/a?payload=yes`, admin)).json;
  t.match(replaced, { grain_key: "a", payload: "new", payload_len: 3 });
  t.not(replaced.id, old);
  t.match((await server.batch(id, admin, [{ delete_all: true }])).json, { grains_removed: 1, content_count: 0 });
  t.match((await server.batch(id, admin, [])).json, { grains_added: 0, grains_removed: 0 });
});

t.test("all or nothing", async (t) => {
  const id = await sliceWithGrains(server, admin, "Atomic");
  const before = await state(id);
  const grain = JSON.parse(before.grains).find(({ grain_key }: { grain_key: string }) => grain_key === "a");
  const start = [{ delete: grain.id }, add("new")];
  const good = start.map((line) => `${JSON.stringify(line)}\n`).join("");
  const broken: [line: string, status: number, message: RegExp][] = [
    ['{"add"', 400, /^line 3: .*not valid JSON/],
    ['{"add": {"grain_key": "x"}}', 400, /^line 3: add\.encoding/],
    ['{"what": 1}', 400, /^line 3: /],
    ['{"add": {"grain_key": "x", "encoding": "raw", "payload": "\\u0000"}}', 400, /^line 3: .*NUL/],
    ['{"add": {"grain_key": "x", "encoding": "raw", "payload": "", "__proto__": {}}}', 400, /^line 3: /],
    ['{"add": {"grain_key": "x", "encoding": "b64", "payload": "%"}}', 400, /base64/],
    ['{"add": {"grain_key": "b", "encoding": "raw", "payload": ""}}', 409, /key already/],
    [`{"delete": "${randomUUID()}"}`, 404, /no grain/],
    ['{"delete_key": "nonsense"}', 404, /no grain/],
    ["\ufeff{}", 400, /^line 3: .*byte order mark/],
    ["[1]", 400, /^line 3: /],
  ];
  for (const [line, status, message] of broken) {
    const answer = await server.call("POST", `/slices/${id}/batch`, {
      token: admin,
      raw: `${good}${line}\n${JSON.stringify(add("last"))}\n`,
      headers: { "content-type": "application/x-ndjson; charset=UTF-8" },
    });
    t.equal(answer.status, status, line);
    t.match(answer.json.message, message);
    t.ok(Buffer.byteLength(answer.text) <= 512);
    t.same(await state(id), before);
  }
});

t.test("a client that goes away changes nothing", async (t) => {
  const id = await sliceWithGrains(server, admin, "Abandoned");
  const before = await state(id);
  const line = JSON.stringify(add("new"));
  const head = `POST /slices/${id}/batch HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${admin}\r\nContent-Type: application/x-ndjson\r\nContent-Length: 100000\r\n\r\n`;
  const socket = net.connect(server.port, "127.0.0.1", () => socket.write(`${head}{"delete_all": true}\n${line}\n`));
  await new Promise((resolve) => setTimeout(resolve, 300));
  const second = await server.batch(id, admin, [add("x")]);
  t.match(second, { status: 409, json: { code: "conflict" } }, "one publisher at a time");
  socket.destroy();
  for (let i = 0; i < 50 && !server.log().includes('"status":499'); i++)
    await new Promise((resolve) => setTimeout(resolve, 50));
  t.match(server.log(), /"status":499.*"aborted":true/);
  t.same(await state(id), before);
  t.equal((await server.batch(id, admin, [add("x")])).status, 200, "and holds nothing");
});

t.test("10,000 lines", async (t) => {
  const id = await newSlice("Large");
  const lines = Array.from({ length: 10_000 }, (_, i) => add(`part-${i}`, `${i} `.repeat(100)));
  const answer = await server.batch(id, admin, lines);
  t.match(answer, { status: 200, json: { grains_added: 10_000, content_count: 10_000 } });
  const brief = (await server.get(`/v1/sync/slice/${id}?brief=yes`, admin)).json;
  t.equal(brief.length, 10_000);
  t.same(Object.keys(brief[0]), ["id", "slice_id", "grain_key", "source", "encoding", "payload_len"]);
  const ids = brief.map((grain: { id: string }) => grain.id);
  t.same(ids, [...ids].sort(), "in order of id");
  const whole = (await server.get(`/sync/slice/${id}`, admin)).json;
  t.equal(whole.length, 10_000);
  t.equal(whole[77].payload, `${whole[77].grain_key.slice(5)} `.repeat(100));
  const page = (await server.get(`/grains/slice/${id}?page=101&limit=99`, admin)).json;
  t.match(page.paging, { page_number: 101, page_size: 99, items_total: 10_000 });
  t.same(page.data, brief.slice(9900, 9999));
});

t.test("single grains, and each encoding", async (t) => {
  const id = await newSlice("Grains");
  const grainId = randomUUID();
  const gzip = Buffer.from("1f8b080000000000000303000000000000000000", "hex");
  const post = (body: object, query = "") => server.post(`/grains${query}`, admin, { slice_id: id, ...body });
  t.match(
    await post({
      id: grainId,
      grain_key: "dir/ä b.jpg",
      source: "x",
      encoding: "z64",
      payload: gzip.toString("base64").replace(/=+$/, ""),
    }),
    {
      status: 201,
      json: { id: grainId, slice_id: id, grain_key: "dir/ä b.jpg", source: "x", encoding: "z64", payload_len: 20 },
    },
  );
  t.equal((await server.get(`/grains/${grainId}`, admin)).json.payload, gzip.toString("base64"), "written padded");
  t.equal((await server.get(`/grains/${id}/${encodeURIComponent("dir/ä b.jpg")}`, admin)).json.id, grainId);
  t.equal((await post({ grain_key: "a85", encoding: "a85", payload: '87cURD]i,"Ebo80' })).status, 201);
  t.equal((await server.get(`/grains/${id}/a85?payload=yes`, admin)).json.payload, '87cURD]i,"Ebo80');
  t.equal((await post({ grain_key: "a85", encoding: "raw", payload: "" })).status, 409);
  t.equal((await post({ grain_key: "a85", encoding: "raw", payload: "new" }, "?replace=yes")).status, 201);
  t.equal((await server.get(`/grains/${id}/a85?payload=yes`, admin)).json.payload, "new");
  const other = await newSlice("Other grains");
  const before = await state(id);
  const stolen = { slice_id: other, id: grainId, grain_key: "a", encoding: "raw", payload: "" };
  t.equal((await server.post("/grains?replace=yes", admin, stolen)).status, 409, "an id of another slice");
  t.same(await state(id), before);
  t.equal((await server.call("DELETE", `/grains/${grainId}`, { token: admin })).status, 204);
  t.equal((await server.get(`/grains/${grainId}`, admin)).status, 404);
});

t.test("large payloads", async (t) => {
  const id = await newSlice("Payloads");
  const payload = "x".repeat(3 * 1024 * 1024);
  t.equal(
    (await server.post("/grains", admin, { slice_id: id, grain_key: "3", encoding: "raw", payload })).status,
    201,
  );
  t.equal((await server.get(`/grains/${id}/3?payload=yes`, admin)).json.payload, payload);
  t.equal((await server.get(`/sync/slice/${id}`, admin)).json[0].payload, payload);
  const larger = "y".repeat(17 * 1024 * 1024);
  t.equal(
    (await server.post("/grains", admin, { slice_id: id, grain_key: "17", encoding: "raw", payload: larger })).status,
    413,
  );
  t.equal((await server.batch(id, admin, [add("17", larger)])).status, 200);
  t.match(await server.get(`/grains/${id}/17?payload=yes`, admin), { status: 413, json: { detail: /sync/ } });
  t.equal((await server.get(`/grains/${id}/17`, admin)).json.payload_len, larger.length);
  t.equal((await server.get(`/sync/slice/${id}`, admin)).status, 413);
  t.equal((await server.get(`/sync/slice/${id}?brief=yes`, admin)).json.length, 2);
  t.equal((await server.batch(id, admin, [add("25", "z".repeat(25 * 1024 * 1024))])).status, 413);
});

t.test("a slice that is being changed is not handed out", async (t) => {
  const id = await sliceWithGrains(server, admin, "Locked");
  await server.post("/subs", admin, { slice_id: id, company_id: who.epicorId, name: "locked" });
  await server.post(`/slices/lock/${id}`, admin, undefined);
  t.match(await server.get(`/sync/slice/${id}?brief=yes`, who.epicor), { status: 409, json: { code: "deferred" } });
  await server.post(`/slices/unlock/${id}`, admin, undefined);
  t.equal((await server.get(`/sync/slice/${id}?brief=yes`, who.epicor)).json.length, 3);
  t.equal((await server.get(`/sync/slice/${id}?brief=maybe`, who.epicor)).status, 400);
});
