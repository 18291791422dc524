/** Nothing secret where others can read it: canaries are planted, real commands run and fail at trace level, and what they leave is searched, files of PostgreSQL included. */
import { randomBytes } from "node:crypto";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { asOwner } from "../bench/world.ts";
import { startOwnServer } from "../harness/own-server.ts";
import { requestInit } from "../harness/request.ts";
import { events, makePair, offer, type Party } from "../integration/parties.ts";

t.setTimeout(180_000);

const canary = (what: string) => `canary-${what}-${randomBytes(9).toString("hex")}`;

t.test("no canary gets out", async (t) => {
  const [there, here] = await Promise.all([startOwnServer(t), startOwnServer(t)]);
  const { primary, secondary } = await makePair(t, { primary: there.database, secondary: here.database });
  await offer(primary, "parts", "aces-items", secondary);
  const secrets = new Map<string, string>();
  for (const party of [primary, secondary])
    for (const [name, value] of Object.entries(party.config().secrets)) secrets.set(`${party.role} ${name}`, value!);
  const password = canary("user-password");
  secrets.set("user password", password);
  secrets.set("wrong password", canary("wrong-password"));
  secrets.set("database password", canary("database"));
  secrets.set("proxy password", canary("proxy"));

  const seen: [where: string, text: string][] = [];
  const lines = new Set<string>();
  const watch = setInterval(() => {
    for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
      try {
        const line = readFileSync(`/proc/${pid}/cmdline`, "utf8");
        if (/sandpiper|postgres/.test(line)) lines.add(line);
      } catch {
        // It has ended.
      }
    }
  }, 20);
  t.teardown(() => clearInterval(watch));

  await primary.server!.stop();
  const port = new URL(primary.server!.url).port;
  const server = await primary.serve({ port, args: ["--log.level", "trace"] });
  const run = async (party: Party, words: string[], options: Parameters<Party["run"]>[1] = {}, keyShown = false) => {
    const { stdout, stderr, code } = await party.run([...words, "--log.level", "trace"], options);
    seen.push([`${words.join(" ")}: stderr`, stderr]);
    if (!keyShown) seen.push([`${words.join(" ")}: stdout`, stdout]);
    return { stdout, code, stderr };
  };

  const apiKey = (await run(primary, ["company", "rekey", "Epicor"], {}, true)).stdout.trim();
  t.match(apiKey, /^[\w-]{22}\.[\w-]{43}$/);
  secrets.set("API key", apiKey).set("secret of the API key", apiKey.split(".")[1]!);
  t.equal((await run(secondary, ["company", "rekey", "ABC Brakes", "--api-key-file", "-"], { input: apiKey })).code, 0);
  t.equal((await run(primary, ["user", "add", "maria", "--role", "admin"], { input: `${password}\n` })).code, 0);
  const sync = await run(secondary, ["sync", "--json"]);
  t.equal(sync.code, 0, sync.stderr);

  const call = async (method: string, path: string, token?: string, body?: unknown) => {
    const response = await fetch(server.url + path, requestInit(method, { token, body }));
    return { status: response.status, text: await response.text() };
  };
  const login = await call("POST", "/login", undefined, { username: "maria", password });
  const token = JSON.parse(login.text).token as string;
  secrets.set("token", token);
  for (const [method, path, body] of [
    ["GET", "/companies"],
    ["GET", "/users"],
    ["GET", "/activity"],
    ["GET", "/server"],
    ["GET", `/me?token=${token}`],
    ["GET", `/nowhere/x?api_key=${apiKey}`],
    ["POST", "/login", { "sync-api-key": `${apiKey.slice(0, -1)}_` }],
    ["POST", "/login", { username: "maria", password: secrets.get("wrong password") }],
    ["POST", "/login", { username: "maria", password, extra: apiKey }],
    ["POST", "/users", { name: "x", password, role: 110, nonsense: true }],
  ] as const) {
    const answer = await call(method, path, token, body);
    seen.push([`${method} ${path.replace(/\?.*/, "")}: answer`, answer.text]);
  }

  // Failures.
  const databaseUrl = `postgres://me:${secrets.get("database password")}@127.0.0.1:9/nowhere`;
  t.not((await run(secondary, ["sync"], { env: { SANDPIPER_DATABASE_URL: databaseUrl } })).code, 0);
  t.not((await run(primary, ["serve"], { env: { SANDPIPER_DATABASE_URL: `${databaseUrl}?nonsense=%zz` } })).code, 0);
  for (const proxy of ["http://me:PASSWORD@127.0.0.1:9", "socks5://me:PASSWORD@127.0.0.1:9", "http://me:PASSWORD@:x"]) {
    const env = { HTTP_PROXY: proxy.replace("PASSWORD", secrets.get("proxy password")!) };
    t.not((await run(secondary, ["sync", "--json", "--retry-for", "0"], { env })).code, 0);
  }
  const bad = { SANDPIPER_SECRETS_TOKEN_KEY: `${secrets.get("primary token_key")}x` };
  t.equal((await run(primary, ["list"], { env: bad })).code, 2);
  const wrongKey = await run(secondary, ["company", "rekey", "ABC Brakes", "--api-key-file", "-"], {
    input: `${apiKey.slice(0, -2)}AA`,
  });
  t.not(wrongKey.code, 0);
  secrets.set("a mistyped API key", `${apiKey.slice(0, -2)}AA`);
  await server.stop();
  t.equal((await run(secondary, ["sync", "--json", "--retry-for", "0"])).code, 3);
  t.match(events(sync.stdout).at(-1), { event: "summary" });
  seen.push(["serve: stderr", server.stderr()]);

  clearInterval(watch);
  t.ok(lines.size > 3, "command lines were seen");
  for (const line of lines) seen.push(["command line", line]);
  for (const { database } of [there, here]) await asOwner(database.url, (owner) => owner.run("CHECKPOINT"));
  for (const directory of [primary.directory, secondary.directory, there.dataDir, here.dataDir]) {
    for (const name of readdirSync(directory, { recursive: true }) as string[]) {
      const path = join(directory, name);
      const status = statSync(path, { throwIfNoEntry: false });
      if (!status?.isFile()) continue;
      if (name === "sandpiper.yaml") t.equal(status.mode & 0o077, 0, `${name} is its owner's alone`);
      else seen.push([path, readFileSync(path, "latin1")]);
    }
  }
  for (const [{ dataDir }, known] of [
    [there, "maria"],
    [here, "parts-Epicor"],
  ] as const)
    for (const kind of ["/base/", "/pg_wal/"])
      t.ok(
        seen.some(([path, text]) => path.startsWith(dataDir) && path.includes(kind) && text.includes(known)),
        `the search sees what ${kind} holds`,
      );
  for (const [what, secret] of [...secrets])
    if (/^[\w-]{43}$/.test(secret))
      secrets.set(`${what}, as bytes`, Buffer.from(secret, "base64url").toString("latin1"));
  t.match(server.stderr(), '"path":"/nowhere/x"', "the search looks at what was logged");
  for (const [what, secret] of secrets)
    t.same(
      seen.filter(([, text]) => text.includes(secret)).map(([where]) => where),
      [],
      what,
    );
});
