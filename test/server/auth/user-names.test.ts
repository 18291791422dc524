/** A user's name is its company's own business: whoever adds one learns nothing of other companies. */
import t from "tap";
import { roles } from "../../../src/companies/company.ts";
import { addUser } from "../../../src/companies/user-store.ts";
import { cast, password, serverOf } from "../support.ts";

const server = await serverOf(t, "primary", { settings: { SANDPIPER_SERVER_TRUSTED_PROXIES: "127.0.0.1" } });
const who = await cast(server);
const { db } = server.app;
let client = 0;
/** A login from an address of its own, so that failures are not counted together. */
const login = (username: string, secret = password) => {
  const from = `10.1.${client >> 8}.${client++ & 255}`;
  return server.call("POST", "/login", {
    body: { username, password: secret },
    headers: { "x-forwarded-for": from },
  });
};
const newUser = (username: string) => ({ username, password, role: 120 });
const addBy = (token: string, username: string) => server.post("/users", token, newUser(username));
const addTo = (companyId: string, name: string) =>
  addUser(db, { name, role: roles["company-admin"], companyId: companyId as never, password });

t.test("a name that another company has is as free as any", async (t) => {
  await addTo(who.otherId, "bob");
  const [taken, free] = [await addBy(who.companyAdmin, "Bob"), await addBy(who.companyAdmin, "nobody-has-this")];
  const shape = ({ status, json, headers }: typeof taken) => [
    status,
    { ...json, id: typeof json.id, username: "", created_at: "" },
    [...headers].filter(([name]) => !/^(date|content-length)$/.test(name)),
  ];
  t.equal(taken.status, 201);
  t.same(shape(taken), shape(free));
  t.equal((await addBy(who.companyAdmin, "root")).status, 201, "nor does it matter that it is an administrator's");
  t.match(await addBy(who.companyAdmin, "BOB"), { status: 409, json: { code: "conflict" } }, "one's own is taken");
});

t.test("ids do not count", async (t) => {
  const ids: number[] = [];
  for (let i = 0; i < 6; i++) ids.push((await addBy(who.companyAdmin, `counted ${i}`)).json.id);
  for (const id of ids) t.ok(Number.isSafeInteger(id) && id > 0, `${id}`);
  const steps = ids.slice(1).map((id, i) => Math.abs(id - ids[i]!));
  t.ok(Math.max(...ids) > 2 ** 40 && Math.min(...steps) > 1000, `${ids}`);
  t.equal((await server.get(`/users/${ids[0]}`, who.companyAdmin)).status, 200);
});

t.test("NAME@COMPANY always; NAME alone while there is one", async (t) => {
  await addTo(who.epicorId, "zoe");
  for (const name of [
    "zoe",
    "ZOE",
    "zoe@Epicor",
    "Zoe@EPICOR",
    `zoe@${who.epicorId}`,
    `zoe@${who.epicorId.toUpperCase()}`,
  ])
    t.match(await login(name), { status: 200, json: { company_id: who.epicorId } }, name);
  await addTo(who.otherId, "Zoë");
  t.match(await login("zoe"), { status: 200 }, "another name");
  t.match(await login("zoe\u0308@other"), { status: 200, json: { company_id: who.otherId } }, "however it is composed");

  await addTo(who.otherId, "zoe");
  const refused = await login("zoe", "a wrong password");
  for (const name of ["zoe", "ZOE", "zoe@", "@epicor", "zoe@nowhere", "zoe@ABC Brakes", "zoe@Epicor@Other", "nobody"]) {
    const answer = await login(name);
    const headers = ({ headers }: typeof answer) => [...headers].filter(([header]) => header !== "date");
    t.same([answer.status, answer.text, headers(answer)], [401, refused.text, headers(refused)], name);
  }
  t.match(await login("zoe@epicor"), { status: 200, json: { company_id: who.epicorId } });
  t.match(await login("zoe@other"), { status: 200, json: { company_id: who.otherId } });
  t.equal((await login("zoe@other", "a wrong password")).status, 401);
});

t.test("each with a password of its own: no other's will do", async (t) => {
  const [mine, theirs] = ["the password of mine", "the password of theirs"];
  const add = (companyId: string, secret: string) =>
    addUser(db, { name: "pat", role: roles["company-admin"], companyId: companyId as never, password: secret });
  await add(who.epicorId, mine);
  await add(who.otherId, theirs);
  t.equal((await login("pat@epicor", theirs)).status, 401);
  t.equal((await login("pat@epicor", mine)).status, 200);
  for (const secret of [mine, theirs]) t.equal((await login("pat", secret)).status, 401);
});

t.test("a name that holds an @ itself", async (t) => {
  await addTo(who.otherId, "kim@example.com");
  t.match(await login("kim@example.com"), { status: 200, json: { company_id: who.otherId } });
  t.match(await login("kim@example.com@Other"), { status: 200, json: { company_id: who.otherId } });

  // A company of that name, and its own kim: NAME@COMPANY is always accepted, so she is the one.
  const company = (await server.post("/companies", who.admin, { name: "example.com" })).json;
  t.match(
    await login("kim@example.com"),
    { status: 200, json: { company_id: who.otherId } },
    "there is no kim there yet",
  );
  await addTo(company.id, "kim");
  t.match(await login("kim@example.com"), { status: 200, json: { company_id: company.id } });
  t.match(await login("kim@example.com@other"), { status: 200, json: { company_id: who.otherId } });

  const at = (await server.post("/companies", who.admin, { name: "at@home" })).json;
  await addTo(at.id, "lee");
  await addTo(who.otherId, "lee");
  t.equal((await login("lee@at@home")).status, 401, "split at the last @");
  t.match(await login(`lee@${at.id}`), { status: 200, json: { company_id: at.id } }, "by the company's id");
});

t.test("with or without the company, ten failures a minute", async (t) => {
  await addTo(who.epicorId, "guessed");
  const guess = (username: string) =>
    server.call("POST", "/login", {
      body: { username, password: "wrong" },
      headers: { "x-forwarded-for": "203.0.113.9" },
    });
  for (let i = 0; i < 5; i++) {
    t.equal((await guess("guessed")).status, 401);
    t.equal((await guess("guessed@Epicor")).status, 401);
  }
  t.equal((await guess("guessed")).status, 429);
  t.equal((await guess(`guessed@${who.epicorId}`)).status, 429);
});

t.test("lists of an administrator name each, page by page", async (t) => {
  const total = (await server.get("/users", who.admin)).json.paging.items_total;
  const seen = new Set<number>();
  for (let page = 1; page <= total; page++)
    for (const { id } of (await server.get(`/users?limit=1&page=${page}`, who.admin)).json.data) seen.add(id);
  t.equal(seen.size, total);
});
