import { chmod, chown, writeFile } from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import t from "tap";
import { configKeys, loadConfig, parseConfig } from "../../src/config/config.ts";
import { splitFlags } from "../../src/config/flags.ts";
import { requireSecret } from "../../src/config/secrets.ts";
import { SandpiperError } from "../../src/errors.ts";
import { scratch } from "../harness/scratch.ts";

const file = "/etc/sandpiper/sandpiper.yaml";
const parse = (flags: string[] = [], environment: Record<string, string> = {}, text?: string) =>
  parseConfig({ flags, environment, file, text });
const secret = Buffer.alloc(32, 7).toString("base64url");

t.test("defaults", async (t) => {
  const config = parse();
  t.match(config, {
    data: "/etc/sandpiper/sandpiper-data",
    file,
    server: { host: "127.0.0.1", port: 8080 },
    sync: { jobs: 4 },
    database: { pool_size: 20 },
    limits: { max_grain_bytes: 4 * 2 ** 30 },
    log: { level: "info" },
  });
  t.equal(config.database.url, undefined);
  t.same(parse([], {}, ""), config, "an empty file");
  t.same(parse([], {}, "# nothing\n"), config);
  t.throws(
    () => {
      (config.server as { port: number }).port = 1;
    },
    TypeError,
    "frozen, inside too",
  );
});

t.test("a flag wins over the environment, that over the file, and that over the default", async (t) => {
  const text = "server:\n  port: 1001\n  host: 10.0.0.1\nsync:\n  jobs: 11\n";
  const environment = { SANDPIPER_SERVER_PORT: "1002", SANDPIPER_SYNC_JOBS: "12" };
  const { flags } = splitFlags(["--server.port", "1003"]);
  t.match(parse([], {}, text), { server: { port: 1001, host: "10.0.0.1" }, sync: { jobs: 11, idle_seconds: 30 } });
  t.match(parse([], environment, text), { server: { port: 1002, host: "10.0.0.1" }, sync: { jobs: 12 } });
  t.match(parse(flags, environment, text), { server: { port: 1003, host: "10.0.0.1" }, sync: { jobs: 12 } });
  t.match(parse(flags), { server: { port: 1003, host: "127.0.0.1" } });
  t.match(parse([], { SANDPIPER_SERVER_PORT: "" }, text), { server: { port: 1001 } }, "an empty variable is none");
  t.match(parse([], { SANDPIPER_DATA: "/var/lib/sp", SANDPIPER_LIMITS_MAX_GRAIN_BYTES: "5" }), {
    data: "/var/lib/sp",
    limits: { max_grain_bytes: 5 },
  });
  t.equal(parse([], {}, "data: ../elsewhere").data, "/etc/elsewhere", "relative to the file");
});

t.test("every key can be set by its environment variable", async (t) => {
  const value = (key: string) => {
    if (key.startsWith("secrets.")) return secret;
    if (key === "log.level") return "debug";
    if (key === "server.sync_url") return "https://sandpiper.example.com";
    if (key === "server.allow_private_addresses") return "true";
    if (key === "server.trusted_proxies") return "10.0.0.0/8";
    if (key === "server.names") return "parts.example.com";
    if (/port|size|seconds|jobs|max|bytes|days|reserve/.test(key)) return "7";
    return "text";
  };
  for (const key of configKeys) {
    const name = `SANDPIPER_${key.replace(".", "_").toUpperCase()}`;
    const config = parse([], { [name]: value(key) }) as unknown as Record<string, Record<string, unknown>>;
    const [section, inner] = key.split(".") as [string, string | undefined];
    const got = inner === undefined ? config[section] : config[section]![inner];
    t.match(String(got), value(key), key);
  }
});

t.test("a bad value names the field and the value, and says where to correct it", async (t) => {
  const cases: [string, Record<string, string>, RegExp][] = [
    ["server: {port: 70000}", {}, /server\.port.*70000/],
    ["server: {allow_private_addresses: maybe}", {}, /allow_private_addresses: must be true or false.*maybe/],
    ["server: {trusted_proxies: [127.0.0.1, localhost]}", {}, /trusted_proxies: must be a list.*localhost/],
    ["server: {trusted_proxies: 10.0.0.0/33}", {}, /trusted_proxies.*10\.0\.0\.0\/33/],
    ["", { SANDPIPER_SERVER_TRUSTED_PROXIES: "::/0/1" }, /trusted_proxies/],
    ["server: {port: -1}", {}, /server\.port.*-1/],
    ["server: {port: 80.5}", {}, /server\.port.*whole number.*80\.5/],
    ["server: {port: eighty}", {}, /server\.port.*eighty/],
    ["", { SANDPIPER_SERVER_PORT: "0x50" }, /server\.port.*0x50/],
    ["", { SANDPIPER_SERVER_PORT: "1e3" }, /server\.port.*1e3/],
    ["", { SANDPIPER_SERVER_PORT: " 80" }, /server\.port/],
    ["", { SANDPIPER_SYNC_JOBS: "0" }, /sync\.jobs/],
    ["log: {level: loud}", {}, /log\.level.*loud/],
    ["server: {sync_url: not a url}", {}, /server\.sync_url.*URL/],
    ["server: [1]", {}, /server/],
    ["server: text", {}, /server/],
    ["server:", {}, /server/],
    ["sever: {port: 1}", {}, /sever: is not a known key/],
    ["server: {prot: 1}", {}, /server\.prot: is not a known key/],
    ["data: ''", {}, /data/],
    ["data: 5", {}, /data.*5/],
  ];
  for (const [text, environment, message] of cases) {
    const what = `${text}${JSON.stringify(environment)}`;
    t.throws(() => parse([], environment, text), { code: "config", message, hint: /sandpiper\.yaml/ }, what);
  }
  for (const [text, message] of [
    ["server: {port: 1", /not valid YAML/],
    ["a: 1\na: 2", /not valid YAML/],
    ["- list", /must hold keys and values/],
    ["just text", /must hold keys and values/],
  ] as const) {
    t.throws(() => parse([], {}, text), { code: "config", message }, text);
  }
});

t.test("a secret is never shown", async (t) => {
  const cases: [string, Record<string, string>][] = [
    ["secrets: {token_key: hunter2}", {}],
    ["", { SANDPIPER_SECRETS_API_KEY_HMAC: "hunter2" }],
    ["database: {url: {password: hunter2}}", {}],
    ["database: [hunter2]", {}],
    ["secrets: [hunter2]", {}],
    ["secrets: hunter2", {}],
    ["secrets: {token_kye: hunter2}", {}],
  ];
  for (const [text, environment] of cases) {
    try {
      parse([], environment, text);
      t.fail(`${text} was taken`);
    } catch (error) {
      const { code, message, hint } = error as SandpiperError;
      t.equal(code, "config");
      t.notMatch(`${message} ${hint}`, /hunter2/, text);
    }
  }
  t.same(requireSecret(parse([], {}, `secrets: {token_key: ${secret}}`), "token_key"), Buffer.alloc(32, 7));
  t.throws(() => requireSecret(parse(), "token_key"), { code: "config", hint: /SANDPIPER_SECRETS_TOKEN_KEY/ });
});

t.test("dotted flags are taken out of a command line, the rest is left alone", async (t) => {
  t.same(splitFlags(["serve", "--server.port", "0", "--json"]), {
    flags: ["--server.port=0"],
    rest: ["serve", "--json"],
  });
  t.same(splitFlags(["--log.level=debug", "sync"]), { flags: ["--log.level=debug"], rest: ["sync"] });
  t.same(splitFlags(["--data", "x"]).rest, ["--data", "x"], "a flag without a dot is the command's");
  t.same(splitFlags(["add", "--", "--server.port"]).rest, ["add", "--", "--server.port"]);
  t.same(splitFlags(["--server.host", ""]).flags, ["--server.host="], "an empty value is a value");
  t.same(splitFlags(["--server.host=a=b c"]).flags, ["--server.host=a=b c"]);
  for (const [argv, message] of [
    [["--server.prot", "1"], /unknown flag --server\.prot/],
    [["--server.port"], /needs a value/],
    [["--server.port", "--json"], /needs a value/],
    [["--server.port", "1", "--server.port=2"], /given twice/],
    [["--database.url", "postgres://x"], /not taken from the command line/],
    [["--database.url=postgres://x"], /not taken from the command line/],
    [["--secrets.token_key", secret], /not taken from the command line/],
    [["--secrets.partner_key=x"], /not taken from the command line/],
  ] as const) {
    t.throws(() => splitFlags(argv), { code: "usage", message, hint: /./ }, argv.join(" "));
  }
});

t.test("what yargs-parser would make of words is not made of them", async (t) => {
  const flag = (...argv: string[]) => parse(splitFlags(argv).flags);
  t.equal(flag("--server.host", "1e3").server.host, "1e3", "no number");
  t.equal(flag("--server.host", "0x10").server.host, "0x10");
  t.equal(flag("--server.host", "true").server.host, "true");
  t.equal(flag("--server.host", "007").server.host, "007");
  t.throws(() => flag("--server.port", "1e3"), { code: "config", message: /server\.port.*1e3/ });
  t.throws(() => flag("--server.port", "0x10"), { code: "config", message: /0x10/ });
  t.throws(() => flag("--server.port", ""), { code: "config" }, "an empty number is none");
  t.throws(() => flag("--server.port", "-1"), { code: "config", message: /-1/ });
  t.equal(flag("--server.port", "0080").server.port, 80);
  t.throws(() => splitFlags(["--server.port.x", "1"]), { code: "usage" });
  t.throws(() => splitFlags(["--server.__proto__", "1"]), { code: "usage" });
  fc.assert(
    fc.property(fc.string({ unit: "binary", minLength: 1 }), (host) => {
      // yargs-parser takes a pair of quotes around a value away; no host, path or number has one.
      const special = host.startsWith("--") || /^(['"])[\s\S]*\1$/.test(host);
      return special || flag("--server.host", host).server.host === host;
    }),
  );
});

t.test("hostile files and environments never do more than fail", async (t) => {
  fc.assert(
    fc.property(fc.json(), fc.string(), (text, port) => {
      try {
        parse([], { SANDPIPER_SERVER_PORT: port }, text);
        return true;
      } catch (error) {
        return error instanceof SandpiperError && error.code === "config";
      }
    }),
  );
  t.throws(() => parse([], {}, "__proto__: {polluted: 1}"), { code: "config" });
  t.throws(() => parse([], {}, '{"": {"": null, ".": ""}}'), { code: "config", message: /has an invalid key/ });
  t.equal(({} as { polluted?: number }).polluted, undefined);
});

t.test("the file of this process", async (t) => {
  const directory = await scratch(t);
  const path = join(directory, "sandpiper.yaml");
  t.throws(() => loadConfig([], path), { code: "config", message: /no configuration file/, hint: /sandpiper init/ });
  t.match(loadConfig([], path, false), { data: join(directory, "sandpiper-data") });
  await writeFile(path, "server: {port: 4711}\n");
  t.equal(loadConfig([], path).server.port, 4711);
  t.throws(() => loadConfig([], directory), { code: "config", message: /cannot read/ });
  if (process.getuid?.() !== 0) {
    await chmod(path, 0);
    t.throws(() => loadConfig([], path), { code: "config", message: /cannot read/ });
  }
});

t.test("a file that holds a secret is nobody else's to read", async (t) => {
  const path = join(await scratch(t), "sandpiper.yaml");
  const read = async (text: string, mode: number) => {
    await writeFile(path, text);
    await chmod(path, mode);
    return () => loadConfig([], path);
  };
  const secret = `secrets: {token_key: ${"A".repeat(43)}}\n`;
  const password = "database: {url: 'postgres://me:hunter2@localhost/parts'}\n";
  for (const [text, what] of [
    [secret, /secrets\.token_key/],
    [password, /the password of database\.url/],
  ] as const) {
    for (const mode of [0o644, 0o640, 0o604, 0o620]) {
      t.throws(await read(text, mode), { code: "config", message: what, hint: `chmod 600 ${path}` }, mode.toString(8));
    }
    t.doesNotThrow(await read(text, 0o600));
    t.doesNotThrow(await read(text, 0o400));
  }
  t.doesNotThrow(await read("server: {port: 1}\ndatabase: {url: 'postgres://me@localhost/parts'}\n", 0o644));
  t.throws(await read("secrets: [\n", 0o644), { code: "config", message: /not valid YAML/ });
  t.throws(await read("secrets: 5\n", 0o644), { code: "config", message: /secrets/ });
  t.throws(await read("secrets: {token_key: hunter2}\n", 0o644), { code: "config", message: /^(?!.*hunter2)/s });
  if (process.getuid?.() !== 0) return;
  await read(secret, 0o640);
  await chown(path, 4711, 4711);
  t.doesNotThrow(() => loadConfig([], path), "the group of who gave it to us");
  await chmod(path, 0o644);
  t.throws(() => loadConfig([], path), { code: "config" });
});
