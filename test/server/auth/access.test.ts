/** Who may not, gets 401 or 403; what one may not see, does not exist. */
import { randomUUID } from "node:crypto";
import t from "tap";
import { cast, password, serverOf, sliceWithGrains } from "../support.ts";

const server = await serverOf(t, "primary");
const who = await cast(server);
const own = await sliceWithGrains(server, who.admin, "Own");
const foreign = await sliceWithGrains(server, who.admin, "Foreign");
const subscribe = async (slice_id: string, company_id: string, name: string) =>
  (await server.post("/subs", who.admin, { slice_id, company_id, name })).json.id as string;
const ownSub = await subscribe(own, who.epicorId, "own");
const foreignSub = await subscribe(foreign, who.otherId, "foreign");
const grainsOf = async (slice: string) => (await server.get(`/grains/slice/${slice}`, who.admin)).json.data;
const ownGrain = (await grainsOf(own))[0].id;
const foreignGrain = (await grainsOf(foreign))[0].id;

t.test("a partner reads what is its own", async (t) => {
  for (const path of [
    "/companies",
    `/companies/${who.epicorId}`,
    `/companies/${who.epicorId}/subs`,
    "/slices",
    `/slices/${own}`,
    "/slices/name/own",
    `/slices/metadata/${own}`,
    `/grains/${ownGrain}`,
    `/grains/slice/${own}`,
    `/grains/${own}/a`,
    "/subs",
    `/subs/${ownSub}`,
    "/subs/name/own",
    "/activity",
    "/sync/subs",
    `/sync/slice/${own}`,
  ]) {
    const answer = await server.get(path, who.epicor);
    t.equal(answer.status, 200, path);
    for (const secret of [foreign, foreignSub, foreignGrain, who.otherId, "Foreign"])
      t.notOk(answer.text.includes(secret));
    const other = await server.get(path, who.other);
    for (const secret of [own, ownSub, ownGrain, who.epicorId]) t.notOk(other.text.includes(secret));
  }
  const lists = ["/companies", "/slices", "/subs"];
  for (const path of lists) t.equal((await server.get(path, who.epicor)).json.paging.items_total, 1, path);
});

t.test("foreign is as unknown, byte for byte", async (t) => {
  const random = randomUUID();
  const pairs = [
    [`/companies/${who.otherId}`, `/companies/${random}`],
    [`/companies/${who.otherId}/subs`, `/companies/${random}/subs`],
    [`/slices/${foreign}`, `/slices/${random}`],
    ["/slices/name/foreign", "/slices/name/nonsense"],
    [`/slices/metadata/${foreign}`, `/slices/metadata/${random}`],
    [`/grains/${foreignGrain}`, `/grains/${random}`],
    [`/grains/slice/${foreign}`, `/grains/slice/${random}`],
    [`/grains/${foreign}/a`, `/grains/${random}/a`],
    [`/grains/${own}/nonsense`, `/grains/${own}/other`],
    [`/subs/${foreignSub}`, `/subs/${random}`],
    ["/subs/name/foreign", "/subs/name/nonsense"],
    [`/sync/slice/${foreign}`, `/sync/slice/${random}`],
    [`/sync/slice/${foreign}`, "/sync/slice/ffffffff-ffff-ffff-ffff-ffffffffffff"],
    [`/sync/slice/${foreign}`, "/sync/slice/00000000-0000-0000-0000-000000000000"],
  ] as const;
  for (const token of [who.epicor, who.companyAdmin]) {
    for (const [one, other] of pairs) {
      const [a, b] = [await server.get(one, token), await server.get(other, token)];
      t.same([a.status, b.status], [404, 404], one);
      t.equal(a.text, b.text);
      const headers = ({ headers }: typeof a) => [...headers].filter(([name]) => name !== "date");
      t.same(headers(a), headers(b));
    }
  }
  const report = (sub_id: string) => server.post("/activity", who.epicor, { sub_id, success: true });
  t.equal((await report(foreignSub)).text, (await report(random)).text);
});

t.test("a withdrawn subscription hides its slice at once", async (t) => {
  const path = `/sync/slice/${own}`;
  const set = (active: boolean) => server.call("PATCH", `/subs/${ownSub}`, { token: who.admin, body: { active } });
  await set(false);
  t.equal((await server.get(path, who.epicor)).status, 404);
  t.equal((await server.get(`/grains/${ownGrain}`, who.epicor)).status, 404);
  await set(true);
  t.equal((await server.get(path, who.epicor)).status, 200);
});

const writes: [method: string, path: string, body?: unknown][] = [
  ["POST", "/companies", { name: "x" }],
  ["PATCH", `/companies/${who.epicorId}`, { active: false }],
  ["POST", `/companies/${who.epicorId}/rekey`],
  ["POST", "/slices", { name: "x", slice_type: "aces-file" }],
  ["PATCH", `/slices/${own}`, { name: "x" }],
  ["DELETE", `/slices/${own}`],
  ["DELETE", `/slices/${foreign}`],
  ["POST", `/slices/refresh/${own}`],
  ["GET", `/slices/refresh/${own}`],
  ["POST", `/slices/lock/${own}`],
  ["GET", `/slices/lock/${own}`],
  ["POST", `/slices/unlock/${own}`],
  ["PUT", `/slices/metadata/${own}`, []],
  ["POST", `/slices/${own}/batch`],
  ["POST", "/grains", { slice_id: own, grain_key: "x", encoding: "raw", payload: "" }],
  ["DELETE", `/grains/${ownGrain}`],
  ["POST", "/subs", { slice_id: own, company_id: who.epicorId, name: "x" }],
  ["PATCH", `/subs/${ownSub}`, { active: false }],
  ["DELETE", `/subs/${ownSub}`],
];

t.test("a partner writes nothing; without a token nobody does anything", async (t) => {
  const before = (await server.get("/sync/subs", who.epicor)).text;
  const users: typeof writes = [
    ["GET", "/users"],
    ["POST", "/users", { username: "x", password, role: 120 }],
    ["GET", "/users/1"],
    ["PATCH", "/users/1", { active: false }],
    ["DELETE", "/users/1"],
  ];
  for (const [method, path, body] of [...writes, ...users]) {
    t.equal((await server.call(method, path, { token: who.epicor, body })).status, 403, `${method} ${path}`);
    t.equal((await server.call(method, path, { body })).status, 401, `${method} ${path} without a token`);
  }
  for (const [method, path, body] of writes) {
    t.equal((await server.call(method, path, { token: who.companyAdmin, body })).status, 403, `${method} ${path}`);
  }
  const reads = ["/me", "/server", "/companies", "/slices", "/subs", "/activity", "/sync/subs", `/sync/slice/${own}`];
  for (const path of reads) t.equal((await server.get(path)).status, 401, path);
  t.equal((await server.get("/sync/subs", who.epicor)).text, before);
});

t.test("an activity is one's own", async (t) => {
  t.equal((await server.post("/activity", who.epicor, { company_id: who.otherId, success: true })).status, 403);
  t.equal((await server.post("/activity", who.epicor, { success: true, message: "mine" })).status, 201);
  t.match((await server.get("/activity", who.epicor)).json.data, [{ company_id: who.epicorId }]);
  t.same((await server.get("/activity", who.other)).json.data, []);
});

t.test("nobody rises above himself", async (t) => {
  const make = (token: string, role: number, rest: object = {}) =>
    server.post("/users", token, { username: `u${randomUUID().slice(0, 8)}`, password, role, ...rest });
  t.equal((await make(who.companyAdmin, 120)).status, 201);
  t.equal((await make(who.companyAdmin, 110)).status, 403);
  t.equal((await make(who.companyAdmin, 100)).status, 403);
  t.equal((await make(who.companyAdmin, 120, { company_id: who.otherId })).status, 403);
  t.equal(
    (await make(who.companyAdmin, 120, { company_id: randomUUID() })).status,
    403,
    "which says nothing of what exists",
  );
  t.equal((await make(who.admin, 100)).status, 403);
  t.equal((await make(who.admin, 110, { company_id: who.otherId })).status, 400, "who sees everything is one of us");
  t.equal((await make(who.admin, 120, { company_id: who.otherId })).status, 201);
  const root = (await make(who.superAdmin, 100)).json;
  t.equal((await server.call("PATCH", `/users/${root.id}`, { token: who.admin, body: { password } })).status, 403);
  t.equal((await server.call("DELETE", `/users/${root.id}`, { token: who.admin })).status, 403);
  const [foreigner, unknown] = [
    await server.get(`/users/${root.id}`, who.companyAdmin),
    await server.get("/users/999999", who.companyAdmin),
  ];
  t.same([foreigner.status, foreigner.text], [404, unknown.text]);
  const seen = (await server.get("/users", who.companyAdmin)).json.data;
  t.ok(seen.length === 2 && seen.every((user: { company_id: string }) => user.company_id === who.epicorId));
});

t.test("a secondary's data is an exact copy: its own switches are all that changes", async (t) => {
  const secondary = await serverOf(t, "secondary");
  const { admin } = await cast(secondary);
  const refused = writes.filter(([, path]) => /^\/(slices|grains|subs)|rekey/.test(path) && path !== `/subs/${ownSub}`);
  for (const [method, path, body] of [...refused, ["DELETE", `/subs/${ownSub}`, undefined] as const]) {
    const answer = await secondary.call(method, path, { token: admin, body });
    t.match(answer, { status: 400, json: { code: "usage" } }, `${method} ${path}`);
  }
  t.equal((await secondary.get("/sync/subs", admin)).status, 400);
  t.equal((await secondary.call("PATCH", `/subs/${ownSub}`, { token: admin, body: { active: false } })).status, 404);
  t.equal((await secondary.post("/companies", admin, { name: "A primary" })).json.api_key, undefined);
  t.equal((await secondary.post("/login", undefined, { "sync-api-key": who.epicorKey })).status, 401);
});
