import { randomUUID } from "node:crypto";
import t from "tap";
import { mintApiKey } from "../../../src/companies/api-key.ts";
import { findCompany, setCompanyActive } from "../../../src/companies/company-store.ts";
import { cast, keyLogin, password, sendRaw, serverOf } from "../support.ts";

const server = await serverOf(t, "primary");
const who = await cast(server);
const login = (body: unknown) => server.post("/login", undefined, body);

t.test("a partner and a person log in", async (t) => {
  const partner = await login({ username: "", password: "", "sync-api-key": who.epicorKey });
  t.equal(partner.status, 200);
  t.match(partner.json, { server_id: server.app.server.serverId, company_id: who.epicorId });
  t.ok(Math.abs(Date.parse(partner.json.expires) - Date.now() - 900_000) < 5000);
  t.match((await server.get("/me", partner.json.token)).json, {
    role: 200,
    username: "Epicor",
    company_id: who.epicorId,
  });

  const person = await server.post("/v1/login", undefined, { username: "ADMIN", password, plandocument: "" });
  t.equal(person.status, 200);
  t.match((await server.get("/v1/me", person.json.token)).json, { role: 110, username: "admin" });
  t.equal(partner.headers.get("cache-control"), "no-store");
  t.equal(partner.headers.get("x-powered-by"), null);
  t.equal(partner.headers.get("access-control-allow-origin"), null);
});

t.test("however a login fails, the answer is the same", async (t) => {
  const hmac = server.context.apiKeyHmac;
  const [keyId, secret] = who.epicorKey.split(".") as [string, string];
  const off = (await server.post("/companies", who.admin, { name: "Switched off" })).json;
  await setCompanyActive(server.app.db, off.id, false);
  const faults = [
    { "sync-api-key": mintApiKey(randomUUID(), hmac).apiKey },
    { "sync-api-key": `${keyId}.${secret.replace(/^../, (start) => (start === "AA" ? "BB" : "AA"))}` },
    { "sync-api-key": off.api_key },
    { "sync-api-key": "nonsense" },
    { username: "admin", password: "wrong" },
    { username: "nobody", password: "wrong" },
    { username: "admin" },
    {},
    { username: null, password: null, "sync-api-key": null },
  ];
  const answers = [];
  for (const fault of faults) answers.push(await login(fault));
  for (const { status, text, headers } of answers) {
    t.equal(status, 401);
    t.equal(text, answers[0]!.text);
    t.equal(headers.get("www-authenticate"), "Bearer");
    t.equal(headers.get("content-type"), "application/problem+json; charset=utf-8");
  }
  t.equal((await login({ "sync-api-key": "x".repeat(2000) })).status, 400);
  t.equal((await login({ username: { $ne: null } })).status, 400);
  t.equal((await login({ role: 100 })).status, 400);
});

t.test("ten failures a minute of one name from one address; nobody else is locked out", async (t) => {
  for (let i = 0; i < 10; i++) t.equal((await login({ username: "mallory", password: `${i}` })).status, 401);
  const refused = await login({ username: "Mallory", password });
  t.equal(refused.status, 429);
  t.ok(Number(refused.headers.get("retry-after")) >= 1);
  t.equal((await login({ username: "admin", password })).status, 200, "another name from the same address");
  const forwarded = { "x-forwarded-for": "192.0.2.1" };
  const again = await server.call("POST", "/login", {
    body: { username: "mallory", password: "x" },
    headers: forwarded,
  });
  t.equal(again.status, 429, "a forged address is not another one");
});

t.test("many at once", async (t) => {
  const all = await Promise.all(Array.from({ length: 64 }, () => login({ username: "carol", password })));
  const statuses = new Set(all.map(({ status }) => status));
  t.same([...statuses].sort(), [200, 429]);
  const keys = await Promise.all(Array.from({ length: 50 }, () => login({ "sync-api-key": who.epicorKey })));
  t.ok(
    keys.every(({ status }) => status === 200),
    "keys are cheap: no limit but on failures",
  );
});

t.test("rekey: the old key works until the new one is used", async (t) => {
  const made = await server.post("/companies", who.admin, { name: "Rekeyed" });
  const { id, api_key: first } = made.json;
  const oldToken = await keyLogin(server, first);
  const { api_key: second } = (await server.post(`/companies/${id}/rekey`, who.admin, undefined)).json;
  t.ok(await keyLogin(server, first), "the old one still works");
  t.equal((await server.get("/me", oldToken)).status, 200);
  const newToken = await keyLogin(server, second);
  t.ok(newToken);
  t.equal((await login({ "sync-api-key": first })).status, 401, "not any more");
  t.equal((await server.get("/me", oldToken)).status, 401, "and its tokens neither");
  t.equal((await server.get("/me", newToken)).status, 200);
});

t.test("a token ends with its company or user, at once", async (t) => {
  const { id, api_key: key } = (await server.post("/companies", who.admin, { name: "Leaving" })).json;
  const token = await keyLogin(server, key);
  t.equal((await server.get("/me", token)).status, 200);
  t.equal((await server.call("PATCH", `/companies/${id}`, { token: who.admin, body: { active: false } })).status, 200);
  t.equal((await findCompany(server.app.db, id))?.active, false);
  const gone = await server.get("/me", token);
  t.equal(gone.status, 401);
  t.equal(gone.text, (await server.get("/me", "x")).text, "as with any token that is not valid");
});

t.test("credentials", async (t) => {
  t.match(await server.get("/me"), { status: 401, json: { code: "auth" } });
  t.equal((await server.call("GET", "/me", { headers: { authorization: "Basic YTpi" } })).status, 401);
  t.equal((await server.call("GET", "/me", { headers: { authorization: `bearer ${who.admin}` } })).status, 200);
  for (const name of ["token", "access_token", "api_key", "sync-api-key", "tok%65n"]) {
    t.equal((await server.get(`/me?${name}=${who.admin}`, who.admin)).status, 400, name);
  }
  const twice = `GET /me HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${who.admin}\r\nAuthorization: Bearer x\r\nConnection: close\r\n\r\n`;
  t.match(await sendRaw(server, twice), /^HTTP\/1\.1 401 /);
});

t.test("nothing secret is logged", async (t) => {
  const log = server.log();
  t.match(log, /"event":"http.request","method":"POST","path":"\/login"/);
  t.match(log, new RegExp(`"company":"${who.epicorId}"`));
  for (const secret of [who.admin, who.epicor, who.epicorKey, password, "access_token"]) t.notOk(log.includes(secret));
});
