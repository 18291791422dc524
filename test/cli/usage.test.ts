import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import t, { type Test } from "tap";
import { runProgram } from "../../src/cli/program.ts";
import { sandpiper } from "../harness/process.ts";
import { scratch } from "../harness/scratch.ts";

const commands = [
  "init",
  "migrate",
  "add",
  "list",
  "pull",
  "activity",
  ...["add", "list", "activate", "deactivate", "rekey"].map((name) => `company ${name}`),
  ...["add", "list", "lock", "unlock", "meta", "remove"].map((name) => `slice ${name}`),
  ...["add", "list", "activate", "deactivate", "remove"].map((name) => `subscription ${name}`),
  "user add",
];

/** A few processes at a time. */
async function inBatches<In, Out>(items: readonly In[], work: (item: In) => Promise<Out>): Promise<Out[]> {
  const done: Out[] = [];
  for (let at = 0; at < items.length; at += 4) done.push(...(await Promise.all(items.slice(at, at + 4).map(work))));
  return done;
}

t.setTimeout(120_000);

t.test("every command has help with examples, --json, --config and configuration flags", async (t) => {
  const helps = await inBatches(commands, (name) => sandpiper([...name.split(" "), "--help"]));
  for (const [at, { code, stdout, stderr }] of helps.entries()) {
    const name = commands[at]!;
    t.equal(code, 0, name);
    t.equal(stderr, "");
    t.match(stdout, `Usage: sandpiper ${name}`);
    t.match(stdout, "--json");
    t.match(stdout, "--config <file>");
    t.match(stdout, "--server.port 8081");
    t.ok(stdout.split(`$ sandpiper ${name}`).length > 2 || name === "migrate", `${name} has two examples`);
  }
});

t.test("the program itself", async (t) => {
  const help = await sandpiper(["--help"]);
  t.match(help, { code: 0, stderr: "" });
  t.match(help.stdout, /Exit codes:/);
  t.match(await sandpiper(["help", "company"]), { code: 0, stdout: "Usage: sandpiper company" });
  t.match(await sandpiper(["--version"]), { code: 0, stdout: /^(\d+\.\d+\.\d+|unknown)\n$/ });
});

const wrong: [args: string[], message: string][] = [
  [["company"], "company needs a command: add"],
  [["company", "ad"], "unknown command 'ad'"],
  [["list", "extra"], "too many arguments for 'list'"],
  [["slice", "add", "--type", "aces-file"], "missing required argument 'name'"],
  [["slice", "add", "x", "--type"], "option '--type <type>' argument missing"],
  [["add", "file"], "required option '--slice <slice>' not specified"],
  [["init", "--role", "boss"], "Allowed choices are primary, secondary"],
  [["init", "--role", "primary", "--role", "secondary"], "It is given twice"],
  [["activity", "--limit", "0"], "whole number from 1 to 100000"],
  [["activity", "--limit", "1e3"], "whole number from 1 to 100000"],
  [["user", "add", "x", "--role", "sync"], "Allowed choices are super-admin, admin, company-admin"],
  [["list", "--server.prot", "1"], "unknown flag --server.prot"],
  [["list", "--database.url", "postgres://x"], "not taken from the command line"],
  [["list", "--secrets.token_key=x"], "not taken from the command line"],
  [["list", "--server.port"], "--server.port needs a value"],
  [["list", "--config", "none.yaml"], "there is no configuration file none.yaml"],
  [["slice", "meta", "x", "a"], '"a" is not key=value'],
  [["slice", "meta", "x", "=1"], '"=1" is not key=value'],
  [["slice", "meta", "x", "a=1", "a=2"], '"a" is given twice'],
  [["slice", "meta", "x", "a=1", "--unset", "a"], '"a" is both set and unset'],
  [["company", "add", "evil\u001b[2Jname"], "the company's name has control characters"],
  [["\u001b[2J"], "unknown command '\\u001b[2J'"],
];

function checkComplaint(t: Test, args: string[], message: string, complaint = ""): void {
  const [first, second, ...rest] = complaint.split("\n");
  const label = args.join(" ");
  t.match(first, message, label);
  t.match(first, /^sandpiper: /);
  t.match(second, /^[A-Z"`]/, `${label}: a hint`);
  t.same(rest, [""], "and nothing else");
}

t.test("what is not understood is one sentence, a hint, and exit 2", async (t) => {
  for (const [args, message] of wrong) {
    const { exitCode, complaint } = await runProgram(args, new AbortController().signal);
    t.equal(exitCode, 2, args.join(" "));
    checkComplaint(t, args, message, complaint);
  }
});

t.test("the same of the real command", async (t) => {
  const cwd = await scratch(t);
  const cases: [string[], string][] = [
    [[], "no command was given"],
    [["slise"], "unknown command 'slise'"],
    [["list", "--fool"], "unknown option '--fool'"],
    [["list"], "there is no configuration file ./sandpiper.yaml"],
  ];
  const outcomes = await inBatches(cases, ([args]) => sandpiper(args, { cwd }));
  for (const [at, { code, stdout, stderr }] of outcomes.entries()) {
    t.match({ code, stdout }, { code: 2, stdout: /^$/ });
    checkComplaint(t, ...cases[at]!, stderr);
  }
});

t.test("with --json an error is one JSON object", async (t) => {
  for (const args of [
    ["list", "--fool", "--json"],
    ["--json", "list", "--config", "none.yaml"],
  ]) {
    const { code, stdout, stderr } = await sandpiper(args);
    t.equal(code, 2);
    t.equal(stdout, "");
    const { error } = JSON.parse(stderr);
    t.same(Object.keys(error), ["code", "message", "hint"]);
  }
});

t.test("bad configuration is refused before anything is opened", async (t) => {
  const directory = await scratch(t);
  const list = async (text: string, env: Record<string, string> = {}, args: string[] = []) => {
    await writeFile(join(directory, "sandpiper.yaml"), text);
    return sandpiper(["list", ...args], { cwd: directory, env });
  };
  t.match(await list("server: {port: 99999}"), { code: 2, stderr: "server.port" });
  t.match(await list("sevrer: {port: 1}"), { code: 2, stderr: "sevrer: is not a known key" });
  t.match(await list("a: [", {}), { code: 2, stderr: "not valid YAML" });
  t.match(await list("", { SANDPIPER_SERVER_PORT: "x" }), { code: 2, stderr: "server.port" });
  t.match(await list("", { SANDPIPER_DATABASE_URL: "mysql://x/y" }), {
    code: 2,
    stderr: "must begin with postgres://",
  });
  t.match(await list("", {}), { code: 2, stderr: "There is no database in" });
  const down = { SANDPIPER_DATABASE_URL: "postgres://u:hunter2@127.0.0.1:1/x" };
  const refused = await list("", down);
  t.match(refused, { code: 9, stderr: "cannot reach the database" });
  t.notMatch(refused.stderr, "hunter2");
  t.notMatch(refused.stderr, /\n\s+at /, "no stack");
  t.match((await list("", down, ["--log.level", "debug"])).stderr, /\n\s+at /, "a stack with log level debug");
});
