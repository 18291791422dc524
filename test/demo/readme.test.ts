/** README.md and docs/ are true: their commands, flags, tables and links are those of the program. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import t from "tap";
import { configKeys, parseConfig } from "../../src/config/config.ts";
import { meanings, worstExit } from "../../src/errors.ts";
import { projectRoot } from "../harness/project-root.ts";
import { commandsAndFlags } from "./help.ts";

const read = (page: string) => readFileSync(join(projectRoot, page), "utf8");
const reference = readdirSync(join(projectRoot, "docs")).map((name) => `docs/${name}`);
const manual = ["README.md", ...reference];
const pages = [...manual, "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "PROTOCOL.md", "SECURITY.md"];

/** What a reader may type: lines of shell, and `code` in the text. */
function code(page: string): string[] {
  const parts = read(page).split(/^```/m);
  const shell = parts.filter((part, index) => index % 2 === 1 && /^(sh|console|crontab)\n/.test(part));
  const text = parts.filter((_, index) => index % 2 === 0).join("");
  const inline = [...text.matchAll(/`([^`]+)`/g)].map(([, span]) => span!.replaceAll("\n", " "));
  return [...shell.flatMap((part) => part.split("\n")), ...inline];
}

/** The cells of the table below a heading whose first column is in code or a number. */
function table(page: string, heading: string): string[][] {
  const section = read(page)
    .split(new RegExp(`^##+ ${heading}\n`, "m"))[1]!
    .split(/^##/m)[0]!;
  const rows = section.split("\n").filter((line) => /^\| [`\d]/.test(line));
  return rows.map((line) =>
    line
      .split("|")
      .slice(1, -1)
      .map((cell) => cell.trim().replaceAll("`", "")),
  );
}

/** The names by which a link finds the headings of a page. */
const anchors = (page: string) =>
  [...read(page).matchAll(/^#+ (.*)$/gm)].map(([, heading]) =>
    heading!
      .toLowerCase()
      .replace(/[^\w\- ]/g, "")
      .replaceAll(" ", "-"),
  );

t.test("every command and flag exists, and every command is in its reference", async (t) => {
  const known = await commandsAndFlags();
  t.ok(known.size >= 20, `${known.size} commands`);
  const mentioned = new Set<string>();
  const flagsOfSync = new Set<string>();
  for (const page of manual) {
    for (const line of code(page)) {
      for (const [, first, rest] of line.matchAll(/(?<![\w/-])sandpiper ([a-z]+)([^|;&<>#]*)/g)) {
        const command = known.has(first!) ? first! : `${first} ${rest!.trim().split(" ")[0]}`;
        const flags = known.get(command);
        if (flags === undefined) {
          t.fail(`${page}: there is no command \`sandpiper ${command}\``, { line });
          continue;
        }
        if (page === "docs/commands.md") mentioned.add(command);
        for (const [, flag] of rest!.matchAll(/ (--[a-z][\w.-]*)/g)) {
          t.ok(flags.has(flag!) || configKeys.includes(flag!.slice(2)), `${page}: sandpiper ${command} ${flag}`);
        }
      }
    }
  }
  t.same([...known.keys()].filter((command) => !mentioned.has(command)).sort(), [], "nothing is left out");
  for (const [cell] of table("docs/commands.md", "sync")) {
    const [flag] = /^--[a-z-]+/.exec(cell!) ?? [];
    if (flag !== undefined) flagsOfSync.add(flag);
  }
  t.same(
    [...flagsOfSync].sort(),
    [...known.get("sync")!].filter((flag) => !["--config", "--help"].includes(flag)).sort(),
    "the flags of sync are those of the program",
  );
});

t.test("the exit codes are those of src/errors.ts", async (t) => {
  const codes = table("docs/exit-codes.md", "Exit codes").map(([code]) => Number(code));
  const exits = [0, 20, ...Object.values(meanings).map(({ exit }) => exit)];
  t.same(
    codes,
    [...new Set(exits)].sort((a, b) => a - b),
  );
  const order = /From the worst down: ([\d, ]+)\./.exec(read("docs/exit-codes.md"))![1]!.split(", ").map(Number);
  const left = [...order];
  for (const worst of order) {
    t.equal(worstExit(left), worst);
    left.shift();
  }
  t.equal(order.length, new Set(exits.filter((code) => ![0, 2, 20, 129, 130, 131, 143].includes(code))).size);
});

t.test("the configuration table has every key, with its default", async (t) => {
  const rows = table("docs/configuration.md", "Keys");
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
  const directory = join(projectRoot, "src");
  const names = readdirSync(directory, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".ts"));
  const sources = names.map((name) => readFileSync(join(directory, name), "utf8"));
  const served = sources.flatMap((source) => [...source.matchAll(/resource\(router, context, "([^"]+)"/g)]);
  const paths = served.map(([, path]) => path!.replace(/:(\w+)/g, "{$1}")).filter((path) => path !== "/");
  t.ok(paths.length > 20, `${paths.length} routes`);
  const shown = code("docs/rest.md").flatMap((span) => /^(?:[A-Z]+ )*(\/[a-z]+[a-z0-9/{}-]*)$/.exec(span)?.[1] ?? []);
  for (const path of paths) t.ok(shown.includes(path), `${path} is in the table`);
  const section = table("docs/rest.md", "Routes").flatMap(([cell]) => cell!.match(/\/[a-z0-9/{}-]+/g)!);
  for (const path of section) t.ok(path === "/sync" || paths.includes(path), `${path} exists`);
});

t.test("what the pages link to, and what they let npm run, is there", async (t) => {
  const { scripts } = JSON.parse(read("package.json"));
  for (const page of pages) {
    const text = read(page);
    for (const [, path, anchor] of text.matchAll(/\]\(([\w./-]*)(?:#([\w-]+))?\)/g)) {
      const target = path === "" ? page : join(dirname(page), path!);
      t.ok(existsSync(join(projectRoot, target)), `${page}: ${target}`);
      if (anchor !== undefined) t.ok(anchors(target).includes(anchor), `${page}: ${target} has #${anchor}`);
    }
    for (const [, path] of text.matchAll(/\/opt\/sandpiper\/([\w./-]+)/g)) {
      t.ok(existsSync(join(projectRoot, path!)), `${page}: ${path}`);
    }
    for (const [, name] of text.matchAll(/npm run ([a-z:]+)/g)) t.ok(scripts[name!], `${page}: npm run ${name}`);
  }
});

t.test("every page of the reference is reached from README", async (t) => {
  for (const page of reference) t.ok(read("README.md").includes(`](${page})`), page);
});
