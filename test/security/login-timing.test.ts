/** Who guesses learns nothing: neither from what a refused login says, nor from how long it takes. */
import { randomBytes, randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { mintApiKey } from "../../src/companies/api-key.ts";
import { addCompany, setCompanyActive } from "../../src/companies/company-store.ts";
import { addUser, updateUser } from "../../src/companies/user-store.ts";
import type { CompanyId } from "../../src/ids.ts";
import { type Answer, cast, password, serverOf } from "../server/support.ts";

t.setTimeout(180_000);

/** How unlikely one distribution is to give samples that differ so much (Mann and Whitney's U), in standard deviations. */
function rankZ(a: readonly number[], b: readonly number[]): number {
  const all = [...a.map((ms) => ({ ms, a: true })), ...b.map((ms) => ({ ms, a: false }))].sort((x, y) => x.ms - y.ms);
  const rankSum = all.reduce((sum, { a }, i) => sum + (a ? i + 1 : 0), 0);
  const [n, m] = [a.length, b.length];
  const u = rankSum - (n * (n + 1)) / 2;
  return Math.abs(u - (n * m) / 2) / Math.sqrt((n * m * (n + m + 1)) / 12);
}

const median = (values: readonly number[]) => [...values].sort((a, b) => a - b)[values.length >> 1]!;

/** Takes turns, so that what else the machine does hits both alike. */
async function compare(rounds: number, one: () => Promise<unknown>, other: () => Promise<unknown>) {
  const taken: [number[], number[]] = [[], []];
  for (let i = -5; i < rounds; i++) {
    const first = i % 2 === 0 ? 0 : 1;
    for (const which of [first, 1 - first]) {
      const begun = performance.now();
      await (which === 0 ? one() : other());
      if (i >= 0) taken[which]!.push(performance.now() - begun);
    }
  }
  const [a, b] = [median(taken[0]), median(taken[1])];
  return { z: rankZ(...taken), apart: Math.abs(a - b) / Math.min(a, b), ms: Math.abs(a - b) };
}

/** Told apart: not by chance (p < 0.0001), and by enough to be seen over a network. */
const differ = ({ z, apart }: { z: number; apart: number }) => z > 3.9 && apart > 0.1;

// Each sample under a client's address of its own: ten failures from one are the limit.
const server = await serverOf(t, "primary", { settings: { SANDPIPER_SERVER_TRUSTED_PROXIES: "127.0.0.1" } });
const who = await cast(server);
let client = 0;
const login = async (body: unknown) => {
  const from = `10.${(client >> 16) & 255}.${(client >> 8) & 255}.${client++ & 255}`;
  return server.call("POST", "/login", { body, headers: { "x-forwarded-for": from } });
};

const hmac = server.context.apiKeyHmac;
const unknownKey = () => login({ "sync-api-key": mintApiKey(randomUUID(), hmac).apiKey });
const [keyId] = who.epicorKey.split(".");
const wrongSecret = () => login({ "sync-api-key": `${keyId}.${randomBytes(32).toString("base64url")}` });
const unknownUser = () => login({ username: `nobody-${client}`, password: "wrong password" });
const wrongPassword = () => login({ username: "admin", password: "wrong password" });

// Two of one name, a user and a company that are switched off.
const { db, server: self } = server.app;
const user = (name: string, companyId: CompanyId) => addUser(db, { name, companyId, role: 120, password });
await user("twice", who.epicorId as CompanyId);
await user("twice", who.otherId as CompanyId);
const idle = await user("idle", self.serverId);
await updateUser(db, idle.id, { active: false });
const closed = await addCompany(db, { name: "Closed" });
await user("shut", closed.id);
await setCompanyActive(db, closed.id, false);
/** Logins that are as good as a wrong password, with the right one where there is one. */
const refusedLogins: Record<string, () => Promise<Answer>> = Object.fromEntries(
  [
    "twice",
    "twice@nowhere",
    "nobody@Epicor",
    "admin@Epicor",
    "@",
    "idle",
    "idle@ABC Brakes",
    "shut",
    "shut@Closed",
  ].map((username) => [username, () => login({ username, password })]),
);

t.test("not by the answer", async (t) => {
  const answers = await Promise.all([unknownKey(), wrongSecret(), unknownUser(), wrongPassword()]);
  for (const refusedLogin of Object.values(refusedLogins)) answers.push(await refusedLogin());
  for (const { status, text } of answers) t.same([status, text], [401, answers[0]!.text]);
});

t.test("not by time", async (t) => {
  const keys = await compare(120, unknownKey, wrongSecret);
  t.notOk(differ(keys), `keys: ${JSON.stringify(keys)}`);
  const users = await compare(40, unknownUser, wrongPassword);
  t.notOk(differ(users), `users: ${JSON.stringify(users)}`);
  for (const [name, refusedLogin] of Object.entries(refusedLogins)) {
    const taken = await compare(20, refusedLogin, wrongPassword);
    t.notOk(differ(taken), `${name}: ${JSON.stringify(taken)}`);
  }
});

t.test("the measure sees what leaks", async (t) => {
  // Without the hash for unknown names, or with five milliseconds more for a known key id.
  const users = await compare(40, unknownKey, wrongPassword);
  t.ok(differ(users), `no hash: ${JSON.stringify(users)}`);
  const keys = await compare(120, unknownKey, async () => {
    await sleep(5);
    await wrongSecret();
  });
  t.ok(differ(keys), `5 ms more: ${JSON.stringify(keys)}`);
});

t.test("64 logins at once starve nobody", async (t) => {
  const logins = Promise.all(Array.from({ length: 64 }, () => login({ username: "carol", password })));
  const begun = performance.now();
  for (let i = 0; i < 5; i++) t.equal((await server.get("/me", who.admin)).status, 200);
  t.ok(performance.now() - begun < 2000, "five requests within two seconds");
  for (const { status } of await logins) t.ok(status === 200 || status === 429);
});

t.test("guessing under a victim's key id or name locks it out nowhere else", async (t) => {
  const from = (address: string, body: unknown) =>
    server.call("POST", "/login", { body, headers: { "x-forwarded-for": address } });
  const wrong = { "sync-api-key": `${keyId}.${randomBytes(32).toString("base64url")}` };
  for (let i = 0; i < 12; i++) {
    t.equal((await from("203.0.113.1", wrong)).status, i < 10 ? 401 : 429);
    await from("203.0.113.1", { username: "admin", password: "wrong password" });
  }
  t.equal((await from("203.0.113.2", { "sync-api-key": who.epicorKey })).status, 200);
  t.equal((await from("203.0.113.2", { username: "admin", password })).status, 200);
});
