/** Every route does for an administrator what it is there for, at the root and under /v1. */
import { randomUUID } from "node:crypto";
import t from "tap";
import { cast, password, serverOf, sliceWithGrains } from "../support.ts";

const server = await serverOf(t, "primary");
const who = await cast(server);
const { admin } = who;
const patch = (path: string, body: unknown) => server.call("PATCH", path, { token: admin, body });
const remove = (path: string) => server.call("DELETE", path, { token: admin });

t.test("about the server", async (t) => {
  t.same((await server.get("/")).json, { name: "sandpiper", version: "0.1.0" });
  t.same((await server.get("/v1/healthz")).json, { status: "ok" });
  t.same((await server.get("/readyz")).json, { status: "ok" });
  const { serverId } = server.app.server;
  t.same((await server.get("/server", who.epicor)).json, { "server-id": serverId, "server-role": "primary" });
});

t.test("companies", async (t) => {
  const id = randomUUID().toUpperCase();
  const made = await server.post("/v1/companies", admin, { id, name: "Ünïted Parts" });
  t.equal(made.status, 201);
  t.match(made.json, { id: id.toLowerCase(), name: "Ünïted Parts", active: true, sync_addr: "" });
  t.match(made.json.api_key, /^[\w-]{22}\.[\w-]{43}$/);
  const read = await server.get(`/companies/${id}`, admin);
  t.equal(read.json.id, id.toLowerCase(), "ids in any case");
  t.notOk(/api_key/.test(read.text), "the key is shown once");
  t.match(await patch(`/companies/${id}`, { active: false }), { status: 200, json: { active: false } });
  t.equal((await server.post("/companies", admin, { name: "ünïted parts" })).status, 409);
  t.equal((await server.post("/companies", admin, { name: " " })).status, 400);
  t.equal((await patch(`/companies/${server.app.server.serverId}`, { active: false })).status, 400, "not ourselves");
  t.equal((await patch(`/companies/${id}`, { name: "x" })).status, 400, "only its switch");
  const list = (await server.get("/companies?limit=2&page=2", admin)).json;
  t.match(list, { data: Array, paging: { page_number: 2, page_size: 2, items_total: 4 } });
  t.equal(list.data.length, 2);
  for (const query of [
    "limit=0",
    "limit=1001",
    "page=0",
    "page=x",
    "page=1&page=2",
    "sort=name",
    "limit=1e2",
    "limit=",
  ]) {
    t.equal((await server.get(`/companies?${query}`, admin)).status, 400, query);
  }
});

t.test("users", async (t) => {
  const made = await server.post("/users", admin, { username: "dave", password, role: 110, email: "d@example.com" });
  t.match(made, { status: 201, json: { username: "dave", role: 110, company_id: server.app.server.serverId } });
  const path = `/users/${made.json.id}`;
  t.same((await server.get(path, admin)).json, made.json);
  t.match(await patch(path, { email: "new@example.com", active: false }), {
    status: 200,
    json: { email: "new@example.com", active: false },
  });
  t.equal((await server.post("/login", undefined, { username: "dave", password })).status, 401, "switched off");
  t.ok((await server.get("/users", admin)).json.data.some((user: { username: string }) => user.username === "dave"));
  t.equal((await patch(path, {})).status, 400);
  t.equal((await patch(path, { role: 100 })).status, 400);
  t.equal((await remove(path)).status, 204);
  t.equal((await server.get(path, admin)).status, 404);
  t.equal((await server.post("/users", admin, { username: "e", password: "short", role: 110 })).status, 400);
  t.equal((await server.get("/users/x", admin)).status, 400);

  const withEmail = (email: string) => server.post("/users", admin, { username: "erin", password, role: 110, email });
  const longest = `${"x".repeat(254 - "@example.com".length)}@example.com`;
  for (const email of ["nobody", "@", `x${longest}`, "a b@example.com"])
    t.match(await withEmail(email), { status: 400, json: { message: /is not an e-mail address/ } }, email.slice(0, 20));
  const erin = await withEmail(longest);
  t.equal(erin.status, 201);
  t.equal((await patch(`/users/${erin.json.id}`, { email: "nobody" })).status, 400);
  t.match(await patch(`/users/${erin.json.id}`, { email: "" }), { status: 200, json: { email: "" } }, "none");
});

t.test("slices", async (t) => {
  const metadata = { region: "US", lang: "en" };
  const made = await server.post("/slices", admin, { name: "Rotors", slice_type: "aces-file", metadata });
  t.match(made, {
    status: 201,
    json: { slice_name: "Rotors", slice_type: "aces-file", content_count: 0, allow_sync: true },
  });
  t.equal(made.json.content_hash.length, 40, "metadata is in the hash");
  const { id } = made.json;
  t.match((await server.get(`/v1/slices/${id.toUpperCase()}`, admin)).json, { id, slice_name: "Rotors" });
  t.equal((await server.get("/slices/name/ROTORS", admin)).json.id, id);
  t.match(await patch(`/slices/${id}`, { name: "Discs 50%/2", slice_type: "pies-file" }), {
    json: { slice_name: "Discs 50%/2", slice_type: "pies-file" },
  });
  t.equal((await server.get(`/slices/name/${encodeURIComponent("discs 50%/2")}`, admin)).json.id, id);
  for (const method of ["POST", "GET"]) {
    t.equal((await server.call(method, `/slices/lock/${id}`, { token: admin })).json.allow_sync, false);
    t.equal((await server.call(method, `/slices/unlock/${id}`, { token: admin })).json.allow_sync, true);
    t.equal((await server.call(method, `/slices/refresh/${id}`, { token: admin })).json.id, id);
  }
  t.same((await server.get(`/slices/metadata/${id}`, admin)).json, [
    { key: "lang", val: "en" },
    { key: "region", val: "US" },
  ]);
  const put = (body: unknown) => server.call("PUT", `/slices/metadata/${id}`, { token: admin, body });
  t.same((await put([])).json, []);
  t.same((await server.get(`/slices/metadata/${id}`, admin)).json, [], "never null");
  t.equal((await server.get(`/slices/${id}`, admin)).json.content_hash, "");
  t.equal((await put([{ key: "a", val: "1" }])).status, 200);
  t.equal(
    (
      await put([
        { key: "a", val: "1" },
        { key: "a", val: "2" },
      ])
    ).status,
    400,
  );
  t.equal((await server.post("/slices", admin, { name: "x", slice_type: "nonsense" })).status, 400);
  t.equal((await server.post("/slices", admin, { name: "discs 50%/2", slice_type: "aces-file" })).status, 409);
  t.equal((await patch(`/slices/${id}`, { slice_type: "nonsense" })).status, 400);
  t.match((await server.get("/slices", admin)).json, { data: [{ id }], paging: { items_total: 1 } });
  t.equal((await remove(`/slices/${id}`)).status, 204);
  t.equal((await server.get(`/slices/${id}`, admin)).status, 404);
  t.same((await server.get("/slices?page=3", admin)).json, {
    data: [],
    paging: { page_number: 3, page_size: 100, items_total: 0 },
  });
});

t.test("subscriptions", async (t) => {
  const slice = await sliceWithGrains(server, admin, "Subscribed");
  const made = await server.post("/subs", admin, { slice_id: slice, company_id: who.epicorId, name: "epicor-rotors" });
  t.match(made, { status: 201, json: { slice_id: slice, company_id: who.epicorId, active: true, description: "" } });
  const { id } = made.json;
  t.same((await server.get(`/subs/${id}`, admin)).json, made.json);
  t.equal((await server.get("/subs/name/EPICOR-ROTORS", admin)).json.id, id);
  t.match((await server.get("/subs", admin)).json, { data: [{ id }], paging: { items_total: 1 } });
  t.match((await server.get(`/companies/${who.epicorId}/subs`, admin)).json, { data: [{ id }] });
  t.same((await server.get(`/companies/${who.otherId}/subs`, admin)).json.data, []);
  t.equal((await patch(`/subs/${id}`, { active: false })).json.active, false);
  const offers = (await server.get("/v1/sync/subs", who.epicor)).json;
  t.same(Object.keys(offers[0]), [
    "id",
    "company_id",
    "slice_id",
    "name",
    "description",
    "active",
    "created_at",
    "updated_at",
    "slice",
  ]);
  t.match(offers, [
    { id, active: false, slice: { id: slice, slice_name: "Subscribed", content_count: 3, allow_sync: true } },
  ]);
  t.equal((await patch(`/subs/${id}`, { active: true })).json.active, true);
  const again = { slice_id: slice, company_id: who.epicorId, name: "second" };
  t.equal((await server.post("/subs", admin, again)).status, 409, "the company has it");
  t.equal((await server.post("/subs", admin, { ...again, company_id: randomUUID() })).status, 404);
  t.equal((await server.post("/subs", admin, { ...again, slice_id: randomUUID() })).status, 404);
  t.equal((await server.post("/subs", admin, { ...again, company_id: server.app.server.serverId })).status, 400);
  t.equal((await remove(`/subs/${id}`)).status, 204);
  t.same((await server.get("/sync/subs", who.epicor)).json, []);
  const described = (length: number) => server.post("/subs", admin, { ...again, description: "d".repeat(length) });
  t.equal((await described(10_001)).status, 400, "longer than any secondary takes");
  const longest = await described(10_000);
  t.equal(longest.status, 201, "as long as on the command line");
  t.equal((await remove(`/subs/${longest.json.id}`)).status, 204);
});

t.test("activity, as the reference implementation reports it", async (t) => {
  const slice = await sliceWithGrains(server, admin, "Reported");
  const sub = (await server.post("/subs", admin, { slice_id: slice, company_id: who.epicorId, name: "reported" })).json;
  const report = {
    id: 0,
    company_id: who.epicorId,
    sub_id: sub.id,
    success: true,
    message: 'Slice "Reported"',
    error: "",
    duration: 1_234_567_890,
    created_at: "0001-01-01T00:00:00Z",
  };
  t.equal((await server.post("/v1/activity", who.epicor, report)).status, 201);
  const nil = "00000000-0000-0000-0000-000000000000";
  t.equal(
    (await server.post("/activity", who.epicor, { ...report, sub_id: nil, success: false, error: "broken" })).status,
    201,
  );
  const repeated = { ...report, id: randomUUID() };
  for (const _ of [1, 2]) t.equal((await server.post("/activity", who.epicor, repeated)).status, 201);
  const { data, paging } = (await server.get("/activity", admin)).json;
  t.equal(paging.items_total, 3, "a repeated report counts once");
  t.match(data.at(-1), { success: true, duration: 1_235_000_000, sub_id: sub.id, slice_id: slice, outcome: "updated" });
  t.match(data.at(-2), { success: false, outcome: "failed", sub_id: null, error: /broken/ });
});
