/** What ends a person's or a partner's token before its time, at the next request and in the middle of what is under way. */
import { randomBytes } from "node:crypto";
import net from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { cast, keyLogin, password, serverOf, sliceWithGrains, statusOf } from "../support.ts";

const server = await serverOf(t, "primary");
const who = await cast(server);
const { db } = server.app;
const other = "another good password";

/** A new administrator, and how it is changed. */
async function person(username: string) {
  const { id } = (await server.post("/users", who.superAdmin, { username, password, role: 110 })).json;
  return {
    id,
    token: await server.loginAs(username),
    change: (body: object) => server.call("PATCH", `/users/${id}`, { token: who.superAdmin, body }),
  };
}
const login = async (username: string, secret: string): Promise<string> =>
  (await server.post("/login", undefined, { username, password: secret })).json.token;
const statusWith = async (token: string) => (await server.get("/me", token)).status;

t.test("a new password ends the tokens from before, however short before, and none from after", async (t) => {
  const { token, change } = await person("ann");
  for (let round = 0; round < 5; round++) {
    const secret = `${other} ${round}`;
    t.equal((await change({ password: secret })).status, 200);
    const fresh = await login("ann", secret); // as a rule within the same second
    t.equal(await statusWith(fresh), 200);
    t.equal((await change({ password: `${secret}!` })).status, 200);
    t.equal(await statusWith(fresh), 401);
  }
  const refused = await server.get("/me", token);
  t.same([refused.status, refused.text], [401, (await server.get("/me", "x")).text], "as any token that is not valid");
  const made = { username: "thief", password, role: 110 };
  t.equal((await server.post("/users", token, made)).status, 401);
  t.equal(await login("ann", password), undefined);
});

t.test("one's own, too", async (t) => {
  const { id, token } = await person("own");
  const changed = await server.call("PATCH", `/users/${id}`, { token, body: { password: other } });
  t.equal(changed.status, 200);
  t.equal(await statusWith(token), 401);
});

t.test("an address for mail ends nothing", async (t) => {
  const { token, change } = await person("mail");
  t.equal((await change({ email: "m@example.com" })).status, 200);
  t.equal(await statusWith(token), 200);
});

t.test("who is switched off and on again logs in anew", async (t) => {
  const { token, change } = await person("off");
  await change({ active: false });
  t.equal(await statusWith(token), 401);
  await change({ active: true });
  t.equal(await statusWith(token), 401);
  t.equal(await statusWith(await login("off", password)), 200);
});

t.test("another role, another company, another user under the same id", async (t) => {
  const { id, token } = await person("moved");
  const set = (what: string, value: unknown) => db.run(`UPDATE users SET ${what} = $2 WHERE id = $1`, [id, value]);
  await set("role", 120);
  t.equal(await statusWith(token), 401);
  await set("role", 110);
  t.equal(await statusWith(token), 200);
  await set("company_id", who.epicorId);
  t.equal(await statusWith(token), 401);
  await set("company_id", server.app.server.serverId);
  t.equal(await statusWith(token), 200);

  t.equal((await server.call("DELETE", `/users/${id}`, { token: who.superAdmin })).status, 204);
  t.equal(await statusWith(token), 401);
  const again = await person("moved");
  await db.run("UPDATE users SET id = $2 WHERE id = $1", [again.id, id]);
  t.equal(await statusWith(token), 401);
});

/** A request whose body is sent by hand. */
function slowRequest(head: string, token: string, type: string) {
  const socket = net.connect(server.port, "127.0.0.1");
  let text = "";
  socket.on("data", (piece) => {
    text += piece;
  });
  const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()));
  socket.write(`${head} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\nContent-Type: ${type}\r\n`);
  return {
    socket,
    answer: async () => {
      await closed;
      return text;
    },
  };
}

t.test("a request whose body is still to come", async (t) => {
  const { token, change } = await person("slow");
  const body = JSON.stringify({ username: "smuggled", password, role: 110 });
  const { socket, answer } = slowRequest("POST /users", token, "application/json");
  socket.write(`Connection: close\r\nContent-Length: ${body.length}\r\n\r\n${body.slice(0, 10)}`);
  await sleep(200);
  await change({ password: other });
  socket.write(body.slice(10));
  t.equal(statusOf(await answer()), 401);
  t.notMatch((await server.get("/users", who.admin)).text, "smuggled");
});

t.test("a batch that goes on", async (t) => {
  const slice = await sliceWithGrains(server, who.admin, "Batch");
  const stateOf = async () => (await server.get(`/slices/${slice}`, who.admin)).json.content_hash;
  const before = await stateOf();
  for (const pauseMs of [200, 2500]) {
    const { token, change } = await person(`batch ${pauseMs}`);
    const { socket, answer } = slowRequest(`POST /slices/${slice}/batch`, token, "application/x-ndjson");
    const line = '{"delete_key": "a"}\n';
    socket.write(`Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n${line.length.toString(16)}\r\n${line}\r\n`);
    await sleep(200);
    await change({ active: false });
    await sleep(pauseMs);
    socket.write(pauseMs < 2000 ? "0\r\n\r\n" : `${line.length.toString(16)}\r\n${line}\r\n`);
    t.equal(statusOf(await answer()), 401);
    t.equal(await stateOf(), before);
  }
});

t.test("a slice that is being read: by a person, and by a partner whose key is replaced", async (t) => {
  const slice = (await server.post("/slices", who.admin, { name: "Large", slice_type: "aces-items" })).json.id;
  const payload = randomBytes(600_000).toString("base64");
  const lines = Array.from({ length: 64 }, (_, i) => ({
    add: { grain_key: `${i}`, encoding: "b64", payload },
  }));
  t.equal((await server.batch(slice, who.admin, lines)).status, 200);
  const partner = (await server.post("/companies", who.admin, { name: "Reader" })).json;
  await server.post("/subs", who.admin, { slice_id: slice, company_id: partner.id, name: "reads" });

  const read = async (token: string, whenBegun: () => Promise<unknown>) => {
    const response = await fetch(`${server.url}/sync/slice/${slice}`, {
      headers: { authorization: `Bearer ${token}` },
    });
    t.equal(response.status, 200);
    await whenBegun();
    return response.text();
  };
  const { token, change } = await person("reader");
  t.equal(JSON.parse(await read(token, async () => {})).length, 64);
  await t.rejects(read(token, () => change({ password: other })));

  const rekey = async () => (await server.post(`/companies/${partner.id}/rekey`, who.admin, undefined)).json.api_key;
  await t.rejects(read(await keyLogin(server, partner.api_key), async () => keyLogin(server, await rekey())));
});
