import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import t from "tap";
import { configKeys, parseConfig } from "../../src/config/config.ts";
import { meanings, worstExit } from "../../src/errors.ts";
import { projectRoot } from "../harness/project-root.ts";
import { commandsAndFlags } from "./help.ts";

const readme = readFileSync(join(projectRoot, "README.md"), "utf8");

/** What a reader may type: lines of shell, and `code` in the text. */
function code(): string[] {
  const parts = readme.split(/^```/m);
  const shell = parts.filter((part, index) => index % 2 === 1 && /^(sh|console|crontab)\n/.test(part));
  const text = parts.filter((_, index) => index % 2 === 0).join("");
  const inline = [...text.matchAll(/`([^`]+)`/g)].map(([, span]) => span!.replaceAll("\n", " "));
  return [...shell.flatMap((part) => part.split("\n")), ...inline];
}

/** The cells of the table below a heading whose first column is in code or a number. */
function table(heading: string): string[][] {
  const section = readme.split(new RegExp(`^##+ ${heading}\n`, "m"))[1]!.split(/^##/m)[0]!;
  const rows = section.split("\n").filter((line) => /^\| [`\d]/.test(line));
  return rows.map((line) =>
    line
      .split("|")
      .slice(1, -1)
      .map((cell) => cell.trim().replaceAll("`", "")),
  );
}

t.test("every command and flag exists, and every command is mentioned", async (t) => {
  const known = await commandsAndFlags();
  t.ok(known.size >= 20, `${known.size} commands`);
  const mentioned = new Set<string>();
  const flagsOfSync = new Set<string>();
  for (const line of code()) {
    for (const [, first, rest] of line.matchAll(/(?<![\w/-])sandpiper ([a-z]+)([^|;&<>#]*)/g)) {
      const command = known.has(first!) ? first! : `${first} ${rest!.trim().split(" ")[0]}`;
      const flags = known.get(command);
      if (flags === undefined) {
        t.fail(`there is no command \`sandpiper ${command}\``, { line });
        continue;
      }
      mentioned.add(command);
      for (const [, flag] of rest!.matchAll(/ (--[a-z][\w.-]*)/g)) {
        if (command === "sync") flagsOfSync.add(flag!);
        t.ok(flags.has(flag!) || configKeys.includes(flag!.slice(2)), `sandpiper ${command} ${flag}`);
      }
    }
    const [flag] = /^--[a-z-]+/.exec(line) ?? [];
    if (flag !== undefined) flagsOfSync.add(flag);
  }
  t.same([...known.keys()].filter((command) => !mentioned.has(command)).sort(), [], "nothing is left out");
  const missing = [...known.get("sync")!].filter((flag) => !flagsOfSync.has(flag));
  t.same(
    missing,
    ["--config", "--help"].filter((flag) => !flagsOfSync.has(flag)),
    "every flag of sync is explained",
  );
});

t.test("the exit codes are those of src/errors.ts", async (t) => {
  const codes = table("Exit codes").map(([code]) => Number(code));
  const exits = [0, 20, ...Object.values(meanings).map(({ exit }) => exit)];
  t.same(
    codes,
    [...new Set(exits)].sort((a, b) => a - b),
  );
  const order = /the worst decides: ([\d, ]+)\./.exec(readme)![1]!.split(", ").map(Number);
  const left = [...order];
  for (const worst of order) {
    t.equal(worstExit(left), worst);
    left.shift();
  }
  t.equal(order.length, new Set(exits.filter((code) => ![0, 2, 20, 129, 130, 131, 143].includes(code))).size);
});

t.test("the configuration table has every key, with its default", async (t) => {
  const rows = table("Configuration");
  t.same(
    rows.map(([key]) => key),
    configKeys,
  );
  const defaults = parseConfig({ flags: [], environment: {}, file: "sandpiper.yaml" });
  for (const [key, environment, shown] of rows) {
    t.equal(environment, `SANDPIPER_${key!.replace(".", "_").toUpperCase()}`);
    const value = key!.split(".").reduce<unknown>((at, name) => (at as Record<string, unknown>)[name], defaults);
    t.equal(key === "data" ? resolve(shown!) : shown, value === undefined ? "" : String(value), `${key}`);
  }
});

t.test("the routes are those of the server", async (t) => {
  const directory = join(projectRoot, "src/server");
  const sources = readdirSync(directory).map((name) => readFileSync(join(directory, name), "utf8"));
  const served = sources.flatMap((source) => [...source.matchAll(/resource\(router, context, "([^"]+)"/g)]);
  const paths = served.map(([, path]) => path!.replace(/:(\w+)/g, "{$1}")).filter((path) => path !== "/");
  const shown = code().flatMap((span) => /^(?:[A-Z]+ )*(\/[a-z]+[a-z/{}]*)$/.exec(span)?.[1] ?? []);
  for (const path of paths) t.ok(shown.includes(path), `${path} is in the table`);
  const section = table("REST").flatMap(([cell]) => cell!.match(/\/[a-z/{}]+/g)!);
  for (const path of section) t.ok(path === "/sync" || paths.includes(path), `${path} exists`);
});

t.test("what it links to, and what it lets npm run, is there", async (t) => {
  for (const [, path] of readme.matchAll(/\]\(([\w./-]+)\)/g)) t.ok(existsSync(join(projectRoot, path!)), `${path}`);
  for (const [, path] of readme.matchAll(/\/opt\/sandpiper\/([\w./-]+)/g)) {
    t.ok(existsSync(join(projectRoot, path!)), `${path}`);
  }
  const { scripts } = JSON.parse(readFileSync(join(projectRoot, "package.json"), "utf8"));
  for (const [, name] of readme.matchAll(/npm run ([a-z:]+)/g)) t.ok(scripts[name!], `npm run ${name}`);
});
