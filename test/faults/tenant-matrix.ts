/**
 * Everything that a partner can ask for, as the route table and the message table have it: what is its own, another's, made up, or its own but
 * switched off; asked for by a partner, another partner, an administrator of another company, and nobody. Prints one line of JSON.
 * A program of its own, so that it can be run from a copy of the program in which a filter is missing (tenants.ts).
 */
import { randomUUID } from "node:crypto";
import { WebSocket } from "ws";
import { roles } from "../../src/companies/company.ts";
import { addCompany, issueApiKey } from "../../src/companies/company-store.ts";
import { addUser } from "../../src/companies/user-store.ts";
import { openDatabase } from "../../src/database/database.ts";
import { createRouter } from "../../src/server/rest/routes.ts";
import { applyBatch } from "../../src/slices/batch.ts";
import { addSlice } from "../../src/slices/slice-store.ts";
import { addSubscription } from "../../src/subscriptions/subscription-store.ts";
import { secondaryMessageTypes } from "../../src/sync/protocol/messages.ts";
import { keyLogin, password, serverOf, type TestServer } from "../server/support.ts";

/** What a request may be about. */
interface Target {
  company: string;
  slice: string;
  sliceName: string;
  sub: string;
  subName: string;
  grain: string;
  user: string;
  userName: string;
  hash: string;
}

type Kind = "own" | "foreign" | "random" | "disabled";
const kinds: readonly Kind[] = ["own", "foreign", "random", "disabled"];

/** Whose words must not come out: ids and texts that nobody else has. */
interface Company {
  target: Target;
  disabled: Target;
  token: string;
  adminToken: string;
  /** Everything of this company's. */
  canaries: string[];
  /** What is in its slice that is switched off. */
  hidden: string[];
}

async function makeCompany(server: TestServer, name: string): Promise<Company> {
  const { db, server: self } = server.app;
  const { id } = await addCompany(db, { name: `canary-${name}` });
  const key = await issueApiKey(db, id, server.context.apiKeyHmac);
  const user = (who: string) =>
    addUser(db, { name: `canary-${name}-${who}`, role: roles["company-admin"], companyId: id, password });
  await user("admin");
  const victim = await user("victim");
  const canaries = [id, `canary-${name}`];
  const make = async (what: string, active: boolean) => {
    const sliceName = `canary-${name}-slice-${what}`;
    const slice = await addSlice(db, { companyId: self.serverId, name: sliceName, type: "aces-items" });
    const words = [`canary-${name}-key-${what}`, `canary-${name}-payload-${what}`, `canary-${name}-value-${what}`];
    const [grainKey, payload, value] = words as [string, string, string];
    const grain = randomUUID();
    const lines = [
      { add: { id: grain, grain_key: grainKey, source: "", encoding: "raw" as const, payload } },
      { metadata: { note: value } },
    ];
    await applyBatch(db, slice, lines, 1e6);
    const subName = `canary-${name}-sub-${what}`;
    const sub = await addSubscription(db, { companyId: id, sliceKey: slice.key, name: subName });
    if (!active) await db.run("UPDATE subscriptions SET active = false WHERE id = $1", [sub.id]);
    const row = await db.one<{ hash: string }>("SELECT hash FROM slices WHERE slice_key = $1", [slice.key]);
    canaries.push(slice.id, grain, sub.id);
    const target: Target = {
      company: id,
      slice: slice.id,
      sliceName,
      sub: sub.id,
      subName,
      grain,
      user: String(victim.id),
      userName: victim.name,
      hash: row!.hash,
    };
    return { target, words: [...words, grain, row!.hash] };
  };
  const shown = await make("shown", true);
  const off = await make("off", false);
  const token = await keyLogin(server, key);
  return {
    target: shown.target,
    disabled: off.target,
    token,
    adminToken: await server.loginAs(`canary-${name}-admin`),
    canaries: [...canaries, ...shown.words, ...off.words],
    hidden: off.words,
  };
}

const made = (): Target => ({
  company: randomUUID(),
  slice: randomUUID(),
  sliceName: "nobody's",
  sub: randomUUID(),
  subName: "nobody's",
  grain: randomUUID(),
  user: "999999999",
  userName: "nobody's",
  hash: "0123456789abcdef",
});

interface Asked {
  path: string;
  body?: unknown;
}

/** How each route is asked about a target. A route that is not here fails the test. */
const routeTable: Record<string, (target: Target) => Asked> = {
  "GET /": () => ({ path: "/" }),
  "GET /healthz": () => ({ path: "/healthz" }),
  "GET /readyz": () => ({ path: "/readyz" }),
  "POST /login": () => ({ path: "/login", body: {} }),
  "GET /me": () => ({ path: "/me" }),
  "GET /server": () => ({ path: "/server" }),
  "GET /companies": () => ({ path: "/companies" }),
  "POST /companies": () => ({ path: "/companies", body: { name: randomUUID() } }),
  "GET /companies/:id": ({ company }) => ({ path: `/companies/${company}` }),
  "PATCH /companies/:id": ({ company }) => ({ path: `/companies/${company}`, body: { active: false } }),
  "POST /companies/:id/rekey": ({ company }) => ({ path: `/companies/${company}/rekey`, body: {} }),
  "GET /companies/:id/subs": ({ company }) => ({ path: `/companies/${company}/subs` }),
  "GET /users": () => ({ path: "/users" }),
  "POST /users": ({ company }) => ({
    path: "/users",
    body: { username: `u${randomUUID().slice(0, 8)}`, password, role: 120, company_id: company },
  }),
  "GET /users/:id": ({ user }) => ({ path: `/users/${user}` }),
  "PATCH /users/:id": ({ user }) => ({ path: `/users/${user}`, body: { email: "" } }),
  "DELETE /users/:id": ({ user }) => ({ path: `/users/${user}` }),
  "GET /slices": () => ({ path: "/slices" }),
  "POST /slices": () => ({ path: "/slices", body: { name: randomUUID().slice(1), slice_type: "aces-items" } }),
  "GET /slices/name/:name": ({ sliceName }) => ({ path: `/slices/name/${encodeURIComponent(sliceName)}` }),
  "GET /slices/:id": ({ slice }) => ({ path: `/slices/${slice}` }),
  "PATCH /slices/:id": ({ slice }) => ({ path: `/slices/${slice}`, body: { slice_type: "pies-items" } }),
  "DELETE /slices/:id": ({ slice }) => ({ path: `/slices/${slice}` }),
  "POST /slices/:id/batch": ({ slice }) => ({ path: `/slices/${slice}/batch`, body: { delete_all: true } }),
  "GET /slices/refresh/:id": ({ slice }) => ({ path: `/slices/refresh/${slice}` }),
  "POST /slices/refresh/:id": ({ slice }) => ({ path: `/slices/refresh/${slice}` }),
  "GET /slices/lock/:id": ({ slice }) => ({ path: `/slices/lock/${slice}` }),
  "POST /slices/lock/:id": ({ slice }) => ({ path: `/slices/lock/${slice}` }),
  "GET /slices/unlock/:id": ({ slice }) => ({ path: `/slices/unlock/${slice}` }),
  "POST /slices/unlock/:id": ({ slice }) => ({ path: `/slices/unlock/${slice}` }),
  "GET /slices/metadata/:id": ({ slice }) => ({ path: `/slices/metadata/${slice}` }),
  "PUT /slices/metadata/:id": ({ slice }) => ({ path: `/slices/metadata/${slice}`, body: [] }),
  "POST /grains": ({ slice }) => ({
    path: "/grains",
    body: { slice_id: slice, grain_key: "k", source: "", encoding: "raw", payload: "p" },
  }),
  "GET /grains/slice/:slice": ({ slice }) => ({ path: `/grains/slice/${slice}` }),
  "GET /grains/:id": ({ grain }) => ({ path: `/grains/${grain}` }),
  "DELETE /grains/:id": ({ grain }) => ({ path: `/grains/${grain}` }),
  "GET /grains/:slice/:key": ({ slice, sliceName }) => ({
    path: `/grains/${slice}/${sliceName.replace("-slice-", "-key-").replace(/[^a-z-]/g, "x")}`,
  }),
  "GET /subs": () => ({ path: "/subs" }),
  "POST /subs": ({ slice, company }) => ({
    path: "/subs",
    body: { slice_id: slice, company_id: company, name: randomUUID().slice(1) },
  }),
  "GET /subs/name/:name": ({ subName }) => ({ path: `/subs/name/${encodeURIComponent(subName)}` }),
  "GET /subs/:id": ({ sub }) => ({ path: `/subs/${sub}` }),
  "PATCH /subs/:id": ({ sub }) => ({ path: `/subs/${sub}`, body: { active: true } }),
  "DELETE /subs/:id": ({ sub }) => ({ path: `/subs/${sub}` }),
  "GET /activity": () => ({ path: "/activity" }),
  "POST /activity": ({ sub }) => ({ path: "/activity", body: { sub_id: sub, success: true } }),
  "GET /sync/subs": () => ({ path: "/sync/subs" }),
  "GET /sync/slice/:slice": ({ slice }) => ({ path: `/sync/slice/${slice}` }),
  "POST /sync/:primary": ({ company }) => ({ path: `/sync/${company}` }),
  "GET /sync/runs/:run": ({ grain }) => ({ path: `/sync/runs/${grain}` }),
};

/** How each message is said about a target, after a comparison that names it. A message that is not here fails the test. */
const messageTable: Record<string, (target: Target) => object> = {
  compare: () => ({ type: "compare" }),
  reconcile: ({ slice, hash }) => ({ type: "reconcile", id: slice, hash, want: "list" }),
  cells: ({ slice, hash }) => ({ type: "cells", id: slice, hash, first: 0, end: 1 }),
  fetch: ({ slice, hash }) => ({ type: "fetch", id: slice, hash, by: "all", count: 1, after: null }),
  confirm: ({ slice, hash }) => ({
    type: "confirm",
    run_id: "00000000-0000-4000-8000-0000000000aa",
    id: slice,
    test: false,
    outcome: "updated",
    hash,
    count: 1,
    added: 1,
    removed: 0,
    bytes: 1,
    duration_ms: 1,
    message: "",
  }),
  recount: ({ slice, hash }) => ({ type: "recount", id: slice, hash }),
  bye: () => ({ type: "bye" }),
};

/** The routes that there are, as "METHOD /path". */
function routesOf(server: TestServer): string[] {
  const found: string[] = [];
  const layers = createRouter(
    server.context,
    server.services.flatMap(({ routes }) => routes ?? []),
  ).stack as unknown as {
    route?: { path: string; methods: Record<string, boolean> };
  }[];
  for (const { route } of layers)
    for (const method of Object.keys(route?.methods ?? {}))
      if (!method.startsWith("_")) found.push(`${method.toUpperCase()} ${route!.path}`);
  return [...new Set(found)];
}

/** What is answered to one message, as one text: messages and frames until the server closes, having been told goodbye. */
function say(server: TestServer, token: string | undefined, target: Target, type: string): Promise<string> {
  const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
  const socket = new WebSocket(`${server.url.replace("http", "ws")}/sync`, ["sandpiper.sync.2"], { headers });
  const heard: string[] = [];
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      socket.terminate();
      resolve(heard.join("\n").replaceAll(target.slice, "ID").replaceAll(target.hash, "HASH"));
    };
    const timer = setTimeout(end, 20_000);
    const ask = (message: unknown) => {
      socket.send(JSON.stringify(message));
      socket.send(JSON.stringify(messageTable.bye!(target)));
    };
    const compare = {
      type: "compare",
      run_id: "00000000-0000-4000-8000-0000000000aa",
      test: false,
      program: "test",
      ids: [target.slice],
      hashes: ["0000000000000000"],
      counts: [7],
    };
    socket.on("error", (error) => heard.push(error.message));
    socket.on("close", (code) => {
      heard.push(`closed ${code}`);
      end();
    });
    socket.on("message", (data: Buffer, binary: boolean) => {
      const text = binary ? data.toString("latin1") : data.toString();
      heard.push(text);
      if (text.includes('"type":"begin"')) {
        if (type === "compare") ask(compare);
        else socket.send(JSON.stringify(compare));
      }
      if (text.includes('"type":"compared"') && type !== "compare") ask(messageTable[type]!(target));
    });
  });
}

const endings: (() => Promise<void>)[] = [];
const server = await serverOf({ teardown: (work) => endings.push(work) }, "primary", {
  settings: { SANDPIPER_DATABASE_POOL_SIZE: "10", SANDPIPER_SERVER_TRUSTED_PROXIES: "127.0.0.1" },
});
const [epicor, other] = [await makeCompany(server, "epicor"), await makeCompany(server, "other")];
const random = made();
// To show that the matrix would see a leak: with this and without a filter there is one.
if (process.env.TENANTS_WITHOUT_LOCK !== undefined) {
  const owner = await openDatabase(server.app.config, { as: "owner" });
  for (const table of ["companies", "slices", "slice_metadata", "grains", "grain_chunks", "subscriptions"])
    await owner.run(`ALTER TABLE ${table} DISABLE ROW LEVEL SECURITY`);
  await owner.close();
}

const requesters = [
  { name: "partner", own: epicor, foreign: other, token: epicor.token },
  { name: "other partner", own: other, foreign: epicor, token: other.token },
  { name: "admin of another company", own: other, foreign: epicor, token: other.adminToken },
  { name: "nobody", own: epicor, foreign: other, token: undefined },
];
type Requester = (typeof requesters)[number];

const targetFor = ({ own, foreign }: Requester, kind: Kind): Target =>
  ({ own: own.target, foreign: foreign.target, random, disabled: own.disabled })[kind];

let cells = 0;
let foreignBytes = 0;
const leaks: string[] = [];
const different: string[] = [];
const missing: string[] = [];

function look(where: string, who: Requester, answer: string): void {
  cells++;
  const secrets = [...who.foreign.canaries, ...who.own.hidden, ...(who.token === undefined ? who.own.canaries : [])];
  for (const secret of secrets) {
    if (!answer.includes(secret)) continue;
    foreignBytes += secret.length;
    leaks.push(`${where}: ${secret}`);
  }
}

/** Each answer of a row, for each target, to one requester: what is another's must answer as what is made up. */
async function ask(what: string, who: Requester, answerTo: (target: Target) => Promise<string>): Promise<void> {
  const answers = new Map<Kind, string>();
  const given = await Promise.all(kinds.map((kind) => answerTo(targetFor(who, kind))));
  for (const [i, kind] of kinds.entries()) {
    const answer = given[i]!;
    look(`${what}, ${kind}, ${who.name}`, who, answer);
    answers.set(kind, answer);
  }
  // Logins are about nobody, and too many of them are refused.
  if (what !== "POST /login" && answers.get("foreign") !== answers.get("random"))
    different.push(`${what}, foreign, ${who.name}`);
}

const order = ["GET", "POST", "PUT", "PATCH", "DELETE"];
const byMethod = (a: string, b: string) => order.indexOf(a.split(" ")[0]!) - order.indexOf(b.split(" ")[0]!);
for (const route of routesOf(server).sort(byMethod)) {
  const asked = routeTable[route];
  if (asked === undefined) {
    missing.push(route);
    continue;
  }
  for (const who of requesters) {
    await ask(route, who, async (target) => {
      const { path, body } = asked(target);
      const request = {
        ...(who.token === undefined ? {} : { token: who.token }),
        ...(body === undefined ? {} : { body }),
      };
      const answer = await server.call(route.split(" ")[0]!, path, request);
      // Lists are the same whatever they are asked about, and what is said of oneself may be.
      const echoed = Object.values(target).filter((word) => word.length > 30);
      let text = `${answer.status} ${answer.text}`;
      if (route.startsWith("POST /users") || route === "POST /activity")
        for (const word of echoed) text = text.replaceAll(word, "WORD");
      return text.replace(/"(instance|request_id)":"[^"]*"/g, "");
    });
  }
}
// Who there is elsewhere: by a name that is taken there, and by a login of that name, each from an address of its own.
let logins = 0;
for (const who of requesters) {
  await ask("POST /users, the name of a user", who, async ({ userName }) => {
    const body = { username: userName, password, role: 120 };
    const { status, text } = await server.call("POST", "/users", { token: who.token, body });
    return `${status} ${text
      .replace(userName, "WORD")
      .replace(/"id":\d+/, "")
      .replace(/"created_at":"[^"]*"/, "")}`;
  });
  for (const company of ["", "@canary-epicor", "@canary-other", "@nobody's"]) {
    await ask(`POST /login, the name of a user${company}`, who, async ({ userName }) => {
      const body = { username: `${userName}${company}`, password: "a wrong password" };
      const headers = { "x-forwarded-for": `10.0.${logins >> 8}.${logins++ & 255}` };
      const { status, text } = await server.call("POST", "/login", { body, headers });
      return `${status} ${text}`;
    });
  }
}
for (const type of secondaryMessageTypes) {
  if (messageTable[type] === undefined) {
    missing.push(`message ${type}`);
    continue;
  }
  for (const who of requesters) await ask(`message ${type}`, who, (target) => say(server, who.token, target, type));
}

const rows = await server.app.db.query<{ n: number }>(
  "SELECT count(*) AS n FROM holdings h WHERE NOT EXISTS (SELECT 1 FROM subscriptions u WHERE u.slice_key = h.slice_key AND u.company_id = h.company_id)",
);
const wrongRows = rows[0]!.n;
console.log(`RESULT ${JSON.stringify({ cells, foreignBytes, wrongRows, leaks, different, missing })}`);
for (const end of endings.reverse()) await end();
process.exit(0);
