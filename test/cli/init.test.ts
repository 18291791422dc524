import { access, mkdir, readdir, readFile, stat, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { parse } from "yaml";
import { loadConfig } from "../../src/config/config.ts";
import { sandpiper } from "../harness/process.ts";
import { scratch } from "../harness/scratch.ts";
import { emptySandbox } from "./sandbox.ts";

t.setTimeout(120_000);

const exists = (path: string) =>
  access(path).then(
    () => true,
    () => false,
  );
const primary = ["init", "--role", "primary", "--company", "ABC Brakes"];

t.test("writes a private file with fresh secrets, and sets up the database", async (t) => {
  const { directory, run, refuses, databaseUrl } = await emptySandbox(t, "init");
  const url = "https://sync.abcbrakes.example";
  // Of an `init` that was killed yesterday: it has secrets.
  const left = join(directory, ".sandpiper-0123456789abcdef.tmp");
  await writeFile(left, "secrets");
  await utimes(left, 1, 1);
  const done = await run([...primary, "--port", "8123", "--sync-url", `${url}/`, "--data", "my data"]);
  t.match(done, { code: 0, stdout: /^This is now the primary of ABC Brakes \(id [0-9a-f-]{36}\)\.\n$/ });
  t.match(done.stderr, "sandpiper serve", "says what to run next");
  const file = join(directory, "sandpiper.yaml");
  t.equal((await stat(file)).mode & 0o777, 0o600);
  t.same(await readdir(directory), ["sandpiper.yaml"], "no temporary file, and no embedded database");
  const text = await readFile(file, "utf8");
  const values = parse(text);
  t.match(values, { data: "my data", server: { port: 8123, sync_url: url } });
  t.notMatch(text, databaseUrl, "what came from the environment stays there");
  const secrets = Object.values(values.secrets as Record<string, string>);
  t.equal(new Set(secrets).size, 3);
  for (const secret of secrets) {
    t.match(secret, /^[A-Za-z0-9_-]{43}$/);
    t.notMatch(done.stdout + done.stderr, secret);
  }
  t.match(text, /^# .*mode 0600/m);
  t.equal(loadConfig([], file).data, join(directory, "my data"), "relative to the file");

  t.test("a second time", async (t) => {
    const again = await run(["init", "--role", "primary", "--company", "abc brakes", "--port", "8123"]);
    t.match(again, { code: 0, stdout: "already; nothing was changed" });
    t.equal(await readFile(file, "utf8"), text);
  });
  t.test("as something else", async (t) => {
    const init = (...args: string[]) => ["init", ...args];
    const other = (role: string, company: string) => init("--role", role, "--company", company);
    // The database's URL is in no file here, and the others are refused before it is asked.
    t.match(await run(other("secondary", "ABC Brakes")), { code: 2, stderr: "already the primary of ABC Brakes" });
    t.match(await run(other("primary", "Other")), { code: 2, stderr: "already the primary of ABC Brakes" });
    const otherId = "00000000-0000-4000-8000-000000000001";
    t.match(await run([...primary, "--server-id", otherId]), { code: 2, stderr: "already the primary" });
    await refuses(t, [
      [[...primary, "--port", "8124"], 2, "says server.port: 8123"],
      [[...primary, "--data", "elsewhere"], 2, "says data:"],
      [[...primary, "--sync-url", "https://x.example"], 2, "says server.sync_url:"],
    ]);
    t.equal(await readFile(file, "utf8"), text);
  });
  t.test("another file for a database that is set up", async (t) => {
    const wrong = await run(["init", "--role", "secondary", "--company", "X", "--config", "other.yaml"]);
    t.match(wrong, { code: 2, stderr: "already the primary of ABC Brakes" });
    t.equal(await exists(join(directory, "other.yaml")), false, "the file is taken back");
    const right = await run([...primary, "--config", "other.yaml"]);
    t.match(right, { code: 0, stderr: /secrets are new[\s\S]*--config other.yaml/ });
  });
});

t.test("what is wrong changes nothing", async (t) => {
  const { directory, run, refuses } = await emptySandbox(t, "init-bad");
  await refuses(t, [
    [["init"], 2, "--role and --company must be given"],
    [["init", "--company", "X"], 2, "--role must be given"],
    [["init", "--role", "primary"], 2, "--company must be given"],
    [["init", "--role", "primary", "--company", ""], 2, "name is empty"],
    [["init", "--role", "primary", "--company", "x".repeat(201)], 2, "longer than 200"],
    [["init", "--role", "primary", "--company", "00000000-0000-4000-8000-000000000001"], 2, "looks like an id"],
    [[...primary, "--port", "70000"], 2, "server.port"],
    [[...primary, "--port", "80x"], 2, "server.port"],
    [[...primary, "--port", "1", "--server.port", "2"], 2, "--port and --server.port are the same"],
    [[...primary, "--sync-url", "abc.example"], 2, "must begin with https"],
    [[...primary, "--sync-url", "http://abc.example"], 2, "plain http to a public host"],
    [[...primary, "--sync-url", "https://u:hunter2@abc.example"], 2, "user name or password"],
    [[...primary, "--server-id", "123"], 2, "is not a UUID"],
  ]);
  t.match(await run([...primary, "--config", "no/such/place.yaml"]), { code: 2, stderr: "cannot write" });
  t.same(await readdir(directory), []);
  const bad = { SANDPIPER_DATABASE_URL: "postgres://x@127.0.0.1:1/x" };
  t.match(await run(primary, { env: bad }), { code: 9, stderr: "cannot reach the database" });
  t.same(await readdir(directory), [], "the file is removed when the database cannot be used");
});

t.test("an existing file with a database.url is used and left as it is", async (t) => {
  const { directory, run, databaseUrl } = await emptySandbox(t, "init-file");
  const file = join(directory, "sandpiper.yaml");
  const env = { SANDPIPER_DATABASE_URL: undefined };
  const lacking = `database:\n  url: ${JSON.stringify(databaseUrl)}\n`;
  await writeFile(file, lacking, { mode: 0o600 });
  t.match(await run(primary, { env }), { code: 2, stderr: "secrets.token_key is missing" });
  const secret = (c: string) => c.repeat(43);
  const text = `${lacking}secrets: {token_key: ${secret("a")}, api_key_hmac: ${secret("b")}, partner_key: ${secret("c")}}\n`;
  await writeFile(file, text);
  t.match(await run(primary, { env }), { code: 0, stdout: "This is now the primary" });
  t.match(await run(["company", "list"], { env }), { code: 0, stdout: "ABC Brakes" });
  t.equal(await readFile(file, "utf8"), text);
});

t.test("two at once set up one server", async (t) => {
  const { run } = await emptySandbox(t, "init-race");
  const both = await Promise.all([run([...primary, "--json"]), run([...primary, "--json"])]);
  t.same(
    both.map(({ code }) => code),
    [0, 0],
  );
  const [one, two] = both.map(({ stdout }) => JSON.parse(stdout));
  t.equal(one.server_id, two.server_id);
  t.not(one.file_written, two.file_written);
});

t.test("on a terminal it asks for what is missing", async (t) => {
  const { onTerminal, directory } = await emptySandbox(t, "init-ask");
  const bad = await onTerminal(["init"], [["Role", "boss\r"]]);
  t.match(bad, { code: 2, screen: '"boss" is not a role' });
  const given = await onTerminal(["init"], [["Role", "\u0003"]]);
  t.match(given, { code: 130, screen: "stopped by SIGINT" });
  t.match(await onTerminal(["init"], [["Role", "\u0004"]]), { code: 2, screen: "no answer was given" });
  t.match(await onTerminal(["init", "--json"]), { code: 2, screen: "--role and --company must be given" });
  t.same(await readdir(directory), []);
  const done = await onTerminal(
    ["init"],
    [
      ["Role", "secondary\r"],
      ["company: ", "Épicor & Söhne\r"],
    ],
  );
  t.match(done, { code: 0, screen: "This is now the secondary of Épicor & Söhne" });
  t.match(done.screen, "company add PRIMARY --sync-addr URL --api-key-file -");
});

t.test("without a database.url it makes an embedded database", async (t) => {
  const directory = await scratch(t);
  const sub = join(directory, "etc");
  await mkdir(sub, { mode: 0o755 });
  const args = ["--role", "secondary", "--company", "Epicor", "--server-id", "2F1C8D9E-7b1a-4c55-9a40-0d6a3c1b2e77"];
  const run = (...words: string[]) => sandpiper([...words, "--config", "etc/s.yaml"], { cwd: directory });
  const made = await run("init", ...args, "--data", "d", "--json");
  t.match(JSON.parse(made.stdout), { server_id: "2f1c8d9e-7b1a-4c55-9a40-0d6a3c1b2e77", role: "secondary" });
  t.ok(await exists(join(sub, "d", "postgres", "PG_VERSION")), "relative to the file");
  t.match(await run("init", ...args), { code: 0, stdout: "already" });
  t.match(await run("migrate"), { code: 0, stdout: "The database is up to date." });
  t.match(await run("company", "list"), { code: 0, stdout: "Epicor\t2f1c8d9e" });
});
