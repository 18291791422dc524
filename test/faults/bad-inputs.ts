/** Inputs that must be refused, and how: each says what is sent where, and the one answer that is right. */
import { randomUUID } from "node:crypto";
import { escapeUnseen } from "../../src/characters.ts";
import type { BadInputWorld } from "./bad-input-world.ts";
import { closeFrame, opcodes, upgradeRequest, wireFrame } from "./websocket-wire.ts";

/** What is sent. */
export type Sent =
  /** Bytes on a connection of their own; in pieces, with a pause before each but the first. */
  | { raw: string | Buffer | readonly (string | Buffer)[]; pauseMs?: number }
  | { call: string; token?: string; json?: unknown; body?: string | Uint8Array; headers?: Record<string, string> }
  /** Websocket frames, after `begin`. */
  | { frames: readonly Buffer[]; withinMs?: number }
  | { command: readonly string[]; input?: string; env?: Record<string, string> };

export interface BadInput {
  name: string;
  sent: Sent;
  /** HTTP status (0: closed without a byte), close code, or exit code. */
  expect: number;
  /** The `code` of the problem document. */
  code?: string;
  /** The answer must match this, too. */
  says?: RegExp;
  /** The server, or who runs the command: the primary unless said. */
  at?: "primary" | "secondary";
  /** The answer comes after half a minute: only in the full form. */
  patient?: true;
}

const random = randomUUID();

/** Of each kind one: direction, joiners and separators without width, a blank like another, a hyphen that is not shown, tags, a filler, half a pair. */
const unseen = [..."\u061c\u200e\u202e\u2066\u200b\u200d\u2060\ufeff\u00a0\u00ad\u{e0041}\ufe0f\u3164\ue000\u2028"];

const text = (value: object | string) =>
  wireFrame(opcodes.text, typeof value === "string" ? value : JSON.stringify(value));

export const badInputs = (w: BadInputWorld): BadInput[] => [
  ...framing(),
  ...addresses(w),
  ...bodies(w),
  ...credentials(w),
  ...tokens(w),
  ...tenancy(w),
  ...outgoing(w),
  ...upgrades(w),
  ...frames(w),
  ...commands(w),
  ...ignored(w),
];

/** A request without a body, whose connection the server is to close. */
const head = (lines: string) => `${lines}\r\nConnection: close\r\n\r\n`;

function framing(): BadInput[] {
  const bad = (name: string, raw: Extract<Sent, { raw: unknown }>["raw"], expect: number, code?: string): BadInput => ({
    name,
    sent: { raw },
    expect,
    ...(code === undefined ? {} : { code }),
  });
  const get = "GET /healthz HTTP/1.1\r\nHost: x";
  const post = "POST /login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json";
  return [
    bad("a method that nobody knows", head("FOO / HTTP/1.1\r\nHost: x"), 400, "usage"),
    bad("TRACE", head("TRACE / HTTP/1.1\r\nHost: x"), 405, "method"),
    bad("CONNECT", head("CONNECT a:1 HTTP/1.1\r\nHost: x"), 0),
    bad("no Host", head("GET / HTTP/1.1"), 400, "usage"),
    bad("two Hosts", head("GET / HTTP/1.1\r\nHost: x\r\nHost: y"), 400, "usage"),
    bad("a Host that is another's", head("GET /healthz HTTP/1.1\r\nHost: evil.example"), 421, "usage"),
    bad(
      "a Host that begins like ours",
      head("GET /healthz HTTP/1.1\r\nHost: parts.example.com.evil.example"),
      421,
      "usage",
    ),
    bad("a blank before the colon", head("GET / HTTP/1.1\r\nHost : x"), 400),
    bad("the address of another host", head("GET http://evil.example/ HTTP/1.1\r\nHost: x"), 400),
    bad("an asterisk for an address", head("OPTIONS * HTTP/1.1\r\nHost: x"), 400),
    bad("HTTP/3.0", head("GET / HTTP/3.0\r\nHost: x"), 400),
    bad("HTTP/2 without asking", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    bad("TLS where there is none", Buffer.from("16030100c8010000c40303", "hex"), 400),
    bad("noise", Buffer.from(Array.from({ length: 300 }, (_, i) => (i * 151 + 7) & 0xff)), 400),
    bad("length and chunks", head(`${post}\r\nContent-Length: 4\r\nTransfer-Encoding: chunked`), 400),
    bad("two lengths", head(`${post}\r\nContent-Length: 4\r\nContent-Length: 5`), 400),
    bad("a negative length", head(`${post}\r\nContent-Length: -1`), 400),
    bad("a length in hex", head(`${post}\r\nContent-Length: 0x10`), 400),
    bad("a length beyond 2^64", head(`${post}\r\nContent-Length: 99999999999999999999999`), 400),
    bad("a chunk whose size is no number", `${head(`${post}\r\nTransfer-Encoding: chunked`)}zz\r\n`, 400),
    bad("a coding besides chunked", head(`${post}\r\nTransfer-Encoding: gzip, identity`), 400),
    bad("lines that end in LF alone", "GET /healthz HTTP/1.1\nHost: x\nConnection: close\n\n", 400),
    bad("NUL in a header", head(`${get}\r\nX-A: a\0b`), 400),
    bad("a header over two lines", head(`${get}\r\nX-A: a\r\n b`), 400),
    bad("a header without a name", head(`${get}\r\n: b`), 400),
    bad("9 KB of one header", head(`${get}\r\nX-A: ${"x".repeat(9216)}`), 431, "limit"),
    bad(
      "100 headers",
      head(`${get}\r\n${Array.from({ length: 100 }, (_, i) => `X${i}: 1`).join("\r\n")}`),
      431,
      "limit",
    ),
    bad("an address of 16 KB", head(`GET /${"a".repeat(16_384)} HTTP/1.1\r\nHost: x`), 431, "limit"),
    bad("an expectation that cannot be met", head(`${get}\r\nExpect: magic`), 417),
    bad("half a request line, then nothing", "GET /\r\n", 400),
    bad("an upgrade to something else", head("GET /v1/me HTTP/1.1\r\nHost: x\r\nUpgrade: h2c"), 401),
    {
      name: "headers that do not end",
      sent: { raw: ["GET / HTTP/1.1\r\n", ..."X-A: slowly".repeat(7)], pauseMs: 200 },
      expect: 408,
      code: "timeout",
    },
  ];
}

function addresses({ admin, own }: BadInputWorld): BadInput[] {
  const bad = (name: string, path: string, expect: number, code?: string, method = "GET"): BadInput => ({
    name,
    sent: { raw: head(`${method} ${path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${admin}`) },
    expect,
    ...(code === undefined ? {} : { code }),
  });
  const notFound = (name: string, path: string) => bad(name, path, 404, "not_found");
  const usage = (name: string, path: string) => bad(name, path, 400, "usage");
  return [
    notFound("an address that is none", "/v1/nothing"),
    notFound("another version", "/v2/slices"),
    notFound("out of the tree, encoded", "/v1/slices/..%2f..%2fetc%2fpasswd"),
    notFound("out of the tree, encoded twice", "/v1/slices/%252e%252e%252f"),
    notFound("out of the tree, with a parameter", "/v1/slices/..;/x"),
    notFound("out of the tree, plainly", "/v1/../../etc/passwd"),
    notFound("with a backslash", "/v1/slices/..%5c..%5cboot.ini"),
    usage("broken percent-encoding", "/v1/slices/%zz"),
    usage("an encoded NUL", "/v1/slices/%00"),
    usage("overlong UTF-8", "/v1/slices/%c0%af"),
    usage("half a surrogate pair", "/v1/slices/name/%ed%a0%80"),
    usage("an id that is too short", "/v1/slices/1234"),
    usage("an id in braces", `/v1/slices/{${random}}`),
    usage("an id as a URN", `/v1/slices/urn:uuid:${random}`),
    usage("an id with a blank", `/v1/slices/${random}%20`),
    usage("an id of 4 KB", `/v1/slices/${"1".repeat(4096)}`),
    notFound("the id of nothing", "/v1/slices/00000000-0000-0000-0000-000000000000"),
    notFound("the largest id", "/v1/slices/ffffffff-ffff-ffff-ffff-ffffffffffff"),
    notFound("SQL in a name", "/v1/slices/name/'%20OR%201=1--"),
    notFound("SQL in a key", `/v1/grains/${own}/';DROP%20TABLE%20grains;--`),
    usage("a page that is no number", "/v1/slices?page=1;drop"),
    usage("a page too far", "/v1/slices?page=99999999"),
    usage("a page before the first", "/v1/slices?page=0"),
    usage("a page too large", "/v1/slices?limit=100000"),
    usage("an order that was not offered", "/v1/slices?sort=hash;select"),
    usage("a parameter twice", "/v1/slices?page=1&page=2"),
    usage("a parameter like an object", "/v1/slices?page[$ne]=1"),
    usage("a parameter called __proto__", "/v1/slices?__proto__=1"),
    usage("an id beyond 2^53 for a user", "/v1/users/99999999999999999999"),
    bad("a method that the address does not have", "/v1/slices", 405, "method", "PUT"),
    bad("a preflight of a browser", "/v1/slices", 405, "method", "OPTIONS"),
  ];
}

function bodies({ admin, spare, foreignGrain }: BadInputWorld): BadInput[] {
  const company = (name: string, body: string | Uint8Array, expect = 400, code = "usage", headers = {}): BadInput => ({
    name,
    sent: {
      call: "POST /v1/companies",
      token: admin,
      body,
      headers: { "content-type": "application/json", ...headers },
    },
    expect,
    code,
  });
  const call = (name: string, call: string, json: unknown, expect = 400, code = "usage"): BadInput => ({
    name,
    sent: { call, token: admin, json },
    expect,
    code,
  });
  const batch = (name: string, body: string, expect = 400, code = "usage"): BadInput => ({
    name,
    sent: {
      call: `POST /v1/slices/${spare}/batch`,
      token: admin,
      body,
      headers: { "content-type": "application/x-ndjson" },
    },
    expect,
    code,
  });
  const grain = { slice_id: spare, grain_key: "k", encoding: "raw", payload: "p" };
  return [
    company("an empty body", ""),
    company("a number for a body", "1"),
    company("a list for a body", "[]"),
    company("null for a body", "null"),
    company("half a body", '{"name": '),
    company("a byte order mark", '\ufeff{"name": "x"}'),
    company("what is not UTF-8", Buffer.from('{"name": "\xff\xfe"}', "latin1")),
    company("JSON that nests 5,000 deep", "[".repeat(5000) + "]".repeat(5000)),
    company("JSON with 5,000 values", `[${"0,".repeat(5000)}0]`, 413, "limit"),
    company("__proto__", '{"name": "x", "__proto__": {"admin": true}}'),
    company("constructor.prototype", '{"constructor": {"prototype": {"admin": true}}}'),
    company("a member that is not known", '{"name": "x", "role": 100}'),
    company("a member twice", '{"name": "x", "name": "y"}'),
    company("an object for a name", '{"name": {"$ne": null}}'),
    company("a list for an id", `{"name": "x", "id": ["${random}"]}`),
    company("NUL in a text", '{"name": "a\\u0000b"}'),
    company("half a surrogate pair", '{"name": "a\\ud800"}'),
    company("control characters in a name", '{"name": "a\\u001b[2J"}'),
    ...unseen.map((character) =>
      company(`a name with ${escapeUnseen(character)} in it`, JSON.stringify({ name: `a${character}b` })),
    ),
    call("a slice that looks like another", "POST /v1/slices", { name: "Ow\u200bn", slice_type: "aces-items" }),
    call("a user who looks like another", "POST /v1/users", {
      username: "ad\u00admin",
      password: "long enough to be one",
      role: 110,
    }),
    company("a name of blanks", '{"name": "   "}'),
    company("a name like an id", `{"name": "${random}"}`),
    company("a name of 10 KB", `{"name": "${"x".repeat(10_000)}"}`),
    company("a name of 100 KB", `{"name": "${"x".repeat(100_000)}"}`, 413, "limit"),
    company("no type", '{"name": "x"}', 415, "media_type", { "content-type": "" }),
    company("text/plain", '{"name": "x"}', 415, "media_type", { "content-type": "text/plain" }),
    company("UTF-16", '{"name": "x"}', 415, "media_type", { "content-type": "application/json; charset=utf-16" }),
    company("a compressed body", '{"name": "x"}', 415, "media_type", { "content-encoding": "gzip" }),
    company("2 MB where a few KB are allowed", `{"name": "${"x".repeat(2_000_000)}"}`, 413, "limit"),
    ...["1e308", "1e400", "9007199254740993", "-0", "-1", "0x10", "NaN"].map(
      (number): BadInput => ({
        name: `the number ${number}`,
        sent: {
          call: "POST /v1/activity",
          token: admin,
          body: `{"success": true, "duration": ${number}}`,
          headers: { "content-type": "application/json" },
        },
        expect: 400,
        code: "usage",
      }),
    ),
    call("text for a number", "POST /v1/activity", { success: true, duration: "12" }),
    call("text for yes or no", "PATCH /v1/users/1", { active: "yes" }),
    call("a slice of a type that is none", "POST /v1/slices", { name: "x", slice_type: "../x" }),
    call("metadata with NUL", `PUT /v1/slices/metadata/${spare}`, [{ key: "a", val: "\0" }]),
    call("metadata with a key twice", `PUT /v1/slices/metadata/${spare}`, [
      { key: "a", val: "1" },
      { key: "a", val: "2" },
    ]),
    call(
      "a subscription to nothing",
      "POST /v1/subs",
      { slice_id: random, company_id: random, name: "x" },
      404,
      "not_found",
    ),
    call("a grain in an encoding that is none", "POST /v1/grains", { ...grain, encoding: "zip" }),
    call("a grain whose base64 is none", "POST /v1/grains", { ...grain, encoding: "b64", payload: "%%%" }),
    call("a grain whose gzip is none", "POST /v1/grains", { ...grain, encoding: "z64", payload: "AAAA" }),
    call("a key of 2,000 bytes", "POST /v1/grains", { ...grain, grain_key: "k".repeat(2000) }),
    call(
      "a grain with the id of another slice's",
      "POST /v1/grains?replace=yes",
      { ...grain, id: foreignGrain },
      409,
      "conflict",
    ),
    call(
      "a user with a rank above one's own",
      "POST /v1/users",
      { username: "x", password: "long enough to be one", role: 100 },
      403,
      "forbidden",
    ),
    batch("a line that is not JSON", "{\n"),
    batch("a line that says nothing", "{}\n"),
    batch("a line that deletes what is not there", `{"delete": "${random}"}\n`, 404, "not_found"),
    batch(
      "a line of 40 MB",
      `{"add": {"grain_key": "k", "encoding": "raw", "payload": "${"x".repeat(40_000_000)}"}}\n`,
      413,
      "limit",
    ),
    {
      name: "2 GB that are only announced",
      sent: {
        raw: `POST /v1/companies HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${admin}\r\nContent-Type: application/json\r\nContent-Length: 2000000000\r\n\r\n`,
      },
      expect: 413,
      code: "limit",
    },
    {
      name: "a body that comes byte by byte",
      sent: {
        raw: [
          `POST /v1/companies HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${admin}\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n`,
          ..." ".repeat(200),
        ],
        pauseMs: 200,
      },
      expect: 408,
      code: "timeout",
      patient: true,
    },
    {
      name: "an endless body",
      sent: {
        raw: [
          `POST /v1/companies HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${admin}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n`,
          ...Array.from({ length: 40 }, () => `10000\r\n${"x".repeat(65_536)}\r\n`),
        ],
        pauseMs: 1,
      },
      expect: 413,
      code: "limit",
    },
  ];
}

function credentials({ prober, proberKey, admin }: BadInputWorld): BadInput[] {
  const me = (name: string, authorization: string): BadInput => ({
    name,
    sent: { raw: head(`GET /v1/me HTTP/1.1\r\nHost: x\r\n${authorization}`) },
    expect: 401,
    code: "auth",
    says: /\r\nwww-authenticate: Bearer\r\n/i,
  });
  const inAddress = (name: string): BadInput => ({
    name: `a credential in the address: ${name}`,
    sent: { call: `GET /v1/me?${name}=${prober}`, token: prober },
    expect: 400,
    code: "usage",
  });
  const login = (name: string, json: object, expect = 401, code = "auth"): BadInput => ({
    name,
    sent: { call: "POST /v1/login", json },
    expect,
    code,
  });
  const [keyId, secret] = proberKey.split(".") as [string, string];
  return [
    me("no Authorization", "X-A: 1"),
    me("Basic", "Authorization: Basic YTpi"),
    me("two Authorizations", `Authorization: Bearer ${prober}\r\nAuthorization: Bearer ${prober}`),
    me("a token of 7 KB", `Authorization: Bearer ${"x".repeat(7000)}`),
    me("Bearer and nothing", "Authorization: Bearer"),
    ...["token", "access_token", "api_key", "sync-api-key", "tok%65n"].map(inAddress),
    login("a key with the id of nobody's", { "sync-api-key": `${random}.${secret}` }),
    login("a key with another secret", { "sync-api-key": `${keyId}.${"A".repeat(secret.length)}` }),
    login("half a key", { "sync-api-key": keyId }),
    login("nothing to log in with", {}),
    login("a password that is wrong", { username: "carol", password: "wrong" }),
    login("a user who is nobody", { username: "nobody", password: "wrong" }),
    login("SQL for a user", { username: "' OR 1=1--", password: "wrong" }),
    login("a key of 2 KB", { "sync-api-key": "x".repeat(2000) }, 400, "usage"),
    login("a key of 2 MB", { "sync-api-key": "x".repeat(2_000_000) }, 413, "limit"),
    login("an object for a user", { username: { $ne: null }, password: "x" }, 400, "usage"),
    login("a role with the login", { username: "carol", password: "x", role: 100 }, 400, "usage"),
    {
      ...login("a login that was already given a token", {}),
      sent: { call: "POST /v1/login", token: admin, json: {} },
    },
    ...Array.from({ length: 10 }, (_, n) => login(`guess ${n}`, { username: "mallory", password: `${n}` })),
    { ...login("the eleventh guess", { username: "Mallory", password: "x" }, 429, "rate_limited"), says: /./ },
    {
      name: "the twelfth, with a forged address",
      sent: {
        call: "POST /v1/login",
        json: { username: "mallory", password: "x" },
        headers: { "x-forwarded-for": "192.0.2.7" },
      },
      expect: 429,
      code: "rate_limited",
    },
  ];
}

function tokens({ forge, prober, secondaryAdmin, formerUser }: BadInputWorld): BadInput[] {
  const now = Math.floor(Date.now() / 1000);
  const [, body, signature] = prober.split(".") as [string, string, string];
  const base64 = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const forged: Record<string, string> = {
    "alg none": `${base64({ alg: "none", typ: "JWT" })}.${body}.`,
    "alg nOnE": `${base64({ alg: "nOnE", typ: "JWT" })}.${body}.${signature}`,
    "alg RS256": forge((c) => c, { alg: "RS256", typ: "JWT" }),
    jku: forge((c) => c, { alg: "HS256", typ: "JWT", jku: "http://127.0.0.1:9/keys" }),
    "a key in the header": forge((c) => c, { alg: "HS256", typ: "JWT", jwk: { kty: "oct", k: "AAAA" } }),
    "an unknown crit": forge((c) => c, { alg: "HS256", typ: "JWT", crit: ["x"] }),
    "another typ": forge((c) => c, { alg: "HS256", typ: "at+jwt" }),
    x5u: forge((c) => c, { alg: "HS256", typ: "JWT", x5u: "http://127.0.0.1:9/cert" }),
    x5c: forge((c) => c, { alg: "HS256", typ: "JWT", x5c: ["AAAA"] }),
    "five parts": `${prober}.x.y`,
    "a blank in it": `${prober.slice(0, 30)} ${prober.slice(30)}`,
    "two parts": prober.split(".").slice(0, 2).join("."),
    "four parts": `${prober}.x`,
    padding: `${prober}=`,
    expired: forge((c) => ({ ...c, iat: now - 1000, exp: now - 100 })),
    "exp as text": forge((c) => ({ ...c, exp: `${now + 100}` })),
    "exp 1e18": forge((c) => ({ ...c, exp: 1e18 })),
    "exp below zero": forge((c) => ({ ...c, exp: -1 })),
    "no exp": forge(({ exp: _, ...c }) => c),
    "of the future": forge((c) => ({ ...c, iat: now + 500, exp: now + 900 })),
    "nbf of the future": forge((c) => ({ ...c, nbf: now + 500 })),
    "another issuer": forge((c) => ({ ...c, iss: random })),
    "no audience": forge(({ aud: _, ...c }) => c),
    "a company that is none": forge((c) => ({ ...c, c: random })),
    "a key that is none": forge((c) => ({ ...c, k: random })),
    "a role that it has not": forge((c) => ({ ...c, r: 100 })),
    "edited claims": `${prober.split(".")[0]}.${base64({ c: random })}.${signature}`,
    "of another server": secondaryAdmin,
    "from before a new password": formerUser,
  };
  return Object.entries(forged).map(([name, token]) => ({
    name: `token: ${name}`,
    sent: { call: "GET /v1/me", token },
    expect: 401,
    code: "auth",
  }));
}

function tenancy(w: BadInputWorld): BadInput[] {
  const as = (token: string, who: string, what: string, expect: number, code: string, json?: unknown): BadInput => ({
    name: `${who}: ${what}`,
    sent: { call: what, token, ...(json === undefined ? {} : { json }) },
    expect,
    code,
  });
  const hidden = [
    `GET /v1/slices/${w.foreign}`,
    "GET /v1/slices/name/foreign",
    `GET /v1/slices/metadata/${w.foreign}`,
    `GET /v1/grains/${w.foreignGrain}`,
    `GET /v1/grains/slice/${w.foreign}`,
    `GET /v1/subs/${w.foreignSub}`,
    `GET /v1/companies/${w.otherId}`,
    `GET /v1/companies/${w.otherId}/subs`,
    `GET /v1/sync/slice/${w.foreign}`,
  ];
  const writes: [string, unknown?][] = [
    ["POST /v1/slices", { name: "x", slice_type: "aces-file" }],
    [`PATCH /v1/slices/${w.own}`, { name: "x" }],
    [`DELETE /v1/slices/${w.own}`],
    [`POST /v1/slices/lock/${w.own}`],
    [`POST /v1/slices/refresh/${w.own}`],
    [`PUT /v1/slices/metadata/${w.own}`, []],
    ["POST /v1/grains", { slice_id: w.own, grain_key: "x", encoding: "raw", payload: "" }],
    [`DELETE /v1/grains/${w.foreignGrain}`],
    ["POST /v1/companies", { name: "x" }],
    [`POST /v1/companies/${w.otherId}/rekey`],
    ["POST /v1/subs", { slice_id: w.foreign, company_id: w.proberId, name: "x" }],
    [`PATCH /v1/subs/${w.foreignSub}`, { active: false }],
  ];
  return [
    ...hidden.flatMap((what) => [
      as(w.prober, "a partner", what, 404, "not_found"),
      as(w.proberUser, "its user", what, 404, "not_found"),
    ]),
    ...writes.flatMap(([what, json]) => [
      as(w.prober, "a partner", what, 403, "forbidden", json),
      as(w.proberUser, "its user", what, 403, "forbidden", json),
    ]),
    as(w.prober, "a partner", "GET /v1/users", 403, "forbidden"),
    as(w.prober, "a partner, an activity of another", "POST /v1/activity", 403, "forbidden", {
      company_id: w.otherId,
      success: true,
    }),
    as(w.prober, "a partner, of another's subscription", "POST /v1/activity", 404, "not_found", {
      sub_id: w.foreignSub,
      success: true,
    }),
    {
      name: "its user: a name that another company's user has, which is as free as any",
      sent: {
        call: "POST /v1/users",
        token: w.proberUser,
        json: { username: "admin", password: "long enough to be one", role: 120 },
      },
      expect: 201,
    },
    as(w.proberUser, "a user of another company's", "POST /v1/users", 403, "forbidden", {
      username: "x",
      password: "long enough to be one",
      role: 120,
      company_id: w.otherId,
    }),
  ];
}

function outgoing({ secondaryAdmin, prober }: BadInputWorld): BadInput[] {
  const order = (target: string, expect = 404, code = "not_found", token = secondaryAdmin): BadInput => ({
    name: `an order to sync with ${target}`,
    at: "secondary",
    sent: { call: `POST /v1/sync/${encodeURIComponent(target)}`, token },
    expect,
    code,
  });
  return [
    order("http://169.254.169.254/latest/meta-data"),
    order("http://127.0.0.1:22"),
    order("file:///etc/passwd"),
    order("//x"),
    order(random),
    order("00000000-0000-0000-0000-000000000000"),
    order(random, 401, "auth", prober),
    {
      name: "a run that is none",
      at: "secondary",
      sent: { call: `GET /v1/sync/runs/${random}`, token: secondaryAdmin },
      expect: 404,
      code: "not_found",
    },
    {
      name: "a copy that is changed",
      at: "secondary",
      sent: { call: "POST /v1/slices", token: secondaryAdmin, json: { name: "x", slice_type: "aces-file" } },
      expect: 400,
      code: "usage",
    },
    {
      name: "a websocket to a secondary",
      at: "secondary",
      sent: { raw: upgradeRequest([`Authorization: Bearer ${secondaryAdmin}`]) },
      expect: 400,
      code: "usage",
    },
  ];
}

function upgrades({ prober, admin, forge }: BadInputWorld): BadInput[] {
  const bearer = `Authorization: Bearer ${prober}`;
  const bad = (name: string, raw: string, expect: number, code?: string): BadInput => ({
    name: `upgrade: ${name}`,
    sent: { raw },
    expect,
    ...(code === undefined ? {} : { code }),
  });
  const good = upgradeRequest([bearer]);
  const now = Math.floor(Date.now() / 1000);
  return [
    bad("no token", upgradeRequest([]), 401, "auth"),
    bad(
      "an expired token",
      upgradeRequest([`Authorization: Bearer ${forge((c) => ({ ...c, iat: now - 1000, exp: now - 99 }))}`]),
      401,
      "auth",
    ),
    bad("an administrator", upgradeRequest([`Authorization: Bearer ${admin}`]), 403, "forbidden"),
    bad("a browser", upgradeRequest([bearer, "Origin: https://evil.example"]), 403, "forbidden"),
    bad("version 7", good.replace("Version: 13", "Version: 7"), 426, "usage"),
    bad("no key", good.replace(/Sec-WebSocket-Key.*\r\n/, ""), 400, "usage"),
    bad("a short key", good.replace("AAAAAAAAAAAAAAAAAAAAAA==", "AAAA"), 400, "usage"),
    bad("to something else", good.replace("Upgrade: websocket", "Upgrade: h2c"), 400, "usage"),
    bad("no subprotocol", good.replace(/Sec-WebSocket-Protocol.*\r\n/, ""), 400, "usage"),
    bad("another subprotocol", good.replace("sync.2", "sync.9"), 400, "usage"),
    bad("another address", upgradeRequest([bearer], "/v1/slices"), 404, "not_found"),
    bad("POST", good.replace("GET", "POST"), 400, "usage"),
    bad("two Hosts", upgradeRequest([bearer, "Host: y"]), 400, "usage"),
    bad("a Host that is another's", good.replace("Host: x", "Host: evil.example"), 421, "usage"),
    bad("a token in the address", upgradeRequest([bearer], `/v1/sync?token=${prober}`), 400, "usage"),
  ];
}

function frames({ foreign, own }: BadInputWorld): BadInput[] {
  const bad = (name: string, expect: number, ...sent: Buffer[]): BadInput => ({
    name: `websocket: ${name}`,
    sent: { frames: sent },
    expect,
  });
  const hash = "0123456789abcdef";
  const compare = { type: "compare", run_id: random, test: false, program: "x", ids: [own], hashes: [""], counts: [0] };
  return [
    bad("no mask", 1002, wireFrame(opcodes.text, "{}", { masked: false })),
    bad("RSV1, which is compression", 1002, wireFrame(opcodes.text, "{}", { rsv: 4 })),
    bad("RSV2", 1002, wireFrame(opcodes.text, "{}", { rsv: 2 })),
    bad("opcode 3", 1002, wireFrame(3, "{}")),
    bad("opcode 11", 1002, wireFrame(11, "{}")),
    bad("a continuation of nothing", 1002, wireFrame(opcodes.continuation, "{}")),
    bad("a message inside another", 1002, wireFrame(opcodes.text, "{", { fin: false }), text("{}")),
    bad("a ping of 126 bytes", 1002, wireFrame(opcodes.ping, "x".repeat(126))),
    bad("a ping in pieces", 1002, wireFrame(opcodes.ping, "x", { fin: false })),
    bad("text that is not UTF-8", 1007, wireFrame(opcodes.text, Buffer.from("c328", "hex"))),
    bad("2^63 bytes", 1009, wireFrame(opcodes.text, "", { length: 2n ** 63n })),
    bad("2^53 bytes", 1009, wireFrame(opcodes.text, "", { length: 2n ** 53n })),
    bad("9 MiB", 1009, wireFrame(opcodes.text, "", { length: 9n * 2n ** 20n })),
    bad(
      "17 pieces",
      1008,
      wireFrame(opcodes.text, "x", { fin: false }),
      ...Array.from({ length: 17 }, () => wireFrame(0, "x", { fin: false })),
    ),
    bad("a close of one byte", 1002, wireFrame(opcodes.close, "x")),
    bad("close code 999", 1002, closeFrame(999)),
    bad("close code 1005", 1002, closeFrame(1005)),
    bad("close code 5000", 1002, closeFrame(5000)),
    bad("a reason that is not UTF-8", 1007, closeFrame(1000, Buffer.from("c328", "hex"))),
    bad("HTTP", 1002, Buffer.from("GET / HTTP/1.1\r\nHost: x\r\n\r\n")),
    bad("a frame where a message is due", 4400, wireFrame(opcodes.binary, Buffer.alloc(20))),
    bad("broken JSON", 4400, text("{")),
    bad("JSON that nests 200,000 deep", 4400, text("[".repeat(200_000) + "]".repeat(200_000))),
    bad("an unknown message", 4400, text({ type: "hello" })),
    bad("a message of the primary's", 4400, text({ type: "begin" })),
    bad("a missing member", 4400, text({ type: "compare" })),
    bad("NUL in a text", 4400, text({ ...compare, program: "\0" })),
    bad("arrays of different lengths", 4400, text({ ...compare, counts: [] })),
    bad("one slice twice", 4400, text({ ...compare, ids: [own, own], hashes: ["", ""], counts: [0, 0] })),
    bad("a second comparison", 4400, text(compare), text(compare)),
    bad("a count beyond 2^53", 4400, text({ ...compare, counts: [2 ** 60] })),
    bad(
      "more slices than one may compare",
      4400,
      text({ ...compare, ids: Array(30_000).fill(own), hashes: Array(30_000).fill(""), counts: Array(30_000).fill(0) }),
    ),
    bad("cells before any were asked for", 4400, text({ type: "cells", id: own, hash, first: 128, end: 2 ** 40 })),
    bad(
      "a fetch of frames that do not come, but a message",
      4400,
      text(compare),
      text({ type: "fetch", id: own, hash, by: "ids", count: 1, after: null }),
      text(compare),
    ),
    bad(
      "a confirmation of a slice of another's",
      4400,
      text({ type: "confirm", run_id: random, id: foreign, test: false, outcome: "great" }),
    ),
    bad("10,000 pings", 1006, ...Array.from({ length: 10_000 }, () => wireFrame(opcodes.ping, "x".repeat(100)))),
    {
      name: "websocket: silence, pings not answered",
      sent: { frames: [], withinMs: 60_000 },
      expect: 4408,
      patient: true,
    },
  ];
}

function commands({ epicorId, primary, proberKey }: BadInputWorld): BadInput[] {
  const at = "secondary" as const;
  const register = (address: string): BadInput => ({
    name: `company add --sync-addr ${address}`,
    at,
    sent: { command: ["company", "add", "Evil", "--sync-addr", address, "--api-key-file", "-"], input: "k" },
    expect: 2,
  });
  const bad = (name: string, command: string[], expect = 2): BadInput => ({ name, sent: { command }, expect });
  const { host } = new URL(primary.server!.url);
  const reaching = (name: string, address: string, env: Record<string, string>, expect: number): BadInput => ({
    name,
    at,
    sent: {
      command: ["company", "add", "Evil", "--sync-addr", address, "--api-key-file", "-"],
      input: proberKey,
      env,
    },
    expect,
  });
  return [
    ...[
      "socks5://user:hunter2@127.0.0.1:1",
      "ftp://user:hunter2@127.0.0.1",
      "http://user:hunter2/@127.0.0.1",
      "http://user:hunter2@127.0.0.1:99999",
      "http://",
    ].map((proxy) =>
      reaching(`the proxy ${proxy.replace("hunter2", "...")}`, `http://${host}`, { HTTP_PROXY: proxy }, 2),
    ),
    reaching("a proxy that is not there", `http://${host}`, { ALL_PROXY: "http://user:50%hunter2@127.0.0.1:1" }, 3),
    bad("the name of a company with what nobody sees in it", ["company", "add", "Ot\u2060her"]),
    bad("the name of a subscription that turns around", [
      "subscription",
      "add",
      "x\u202ey",
      "--slice",
      "Own",
      "--company",
      "Other",
    ]),
    ...[
      "ftp://x",
      "file:///etc/passwd",
      "http://8.8.8.8",
      "https://user:hunter2@x",
      "https://169.254.169.254",
      "http://0.0.0.0:1",
      "https://[ff02::1]",
      "https://x/?a=1",
      "http://x:99999",
    ].map(register),
    bad("the name of a company with an escape in it", ["company", "add", "a\u001b[2Jb"]),
    bad("an id that is none", ["company", "add", "X", "--id", "1234"]),
    bad("a slice that is not there", ["subscription", "add", "x", "--slice", "../../x", "--company", "Other"]),
    bad("a type that is none", ["slice", "add", "x", "--type", "../x"]),
    bad("a secret on the command line", ["serve", "--secrets.token_key", "hunter2"]),
    bad("a port that is none", ["serve", "--server.port", "99999"]),
    bad("a flag that is not known", ["slice", "list", "--__proto__", "1"]),
    bad("a sync on a primary", ["sync"]),
    bad("a file that unfolds to a thousand times its size", ["pull", "--slice", "Bomb", "out"], 11),
    bad("a manifest that leads out of its directory", ["pull", "odd"], 9),
    bad("a directory that cannot be made", ["pull", "/proc/none"], 9),
    { name: "a subscription that is not there", at, sent: { command: ["sync", "--sub", "' OR 1=1--"] }, expect: 2 },
    { name: "a company that is ourselves", at, sent: { command: ["sync", "--sub", epicorId] }, expect: 2 },
  ];
}

/** What is taken for what it is: nothing special. */
function ignored({ admin, own, spare }: BadInputWorld): BadInput[] {
  const fine = (name: string, call: string, headers: Record<string, string>): BadInput => ({
    name,
    sent: { call, token: admin, headers },
    expect: 200,
  });
  const grain = (name: string, source: string): BadInput => ({
    name: `a grain from ${name}`,
    sent: {
      call: "POST /v1/grains",
      token: admin,
      json: { slice_id: spare, grain_key: name, source, encoding: "raw", payload: "=1+1" },
    },
    expect: 201,
  });
  return [
    fine("another method in a header", `GET /v1/slices/${own}`, { "x-http-method-override": "DELETE" }),
    fine("a thousand ranges", `GET /v1/slices/${own}`, { range: `bytes=${"0-0,".repeat(1000)}1-1` }),
    fine("another host in a header", `GET /v1/slices/${own}`, { "x-forwarded-host": "evil.example" }),
    {
      ...fine("a browser from elsewhere", `GET /v1/slices/${own}`, { origin: "https://evil.example" }),
      says: /^(?![\s\S]*access-control-allow-origin)/i,
    },
    grain("out of the tree", "../../etc/cron.d/x"),
    grain("a device", "CON"),
    grain("a root", "/etc/passwd"),
  ];
}
