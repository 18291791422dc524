/** Rules about the text of the sources that neither the compiler nor the linter knows. */
import { readdir, readFile } from "node:fs/promises";
import { join, sep } from "node:path";
import t from "tap";
import { projectRoot } from "./project-root.ts";

interface Source {
  name: string;
  /** Without comments and strings, each replaced by as many line ends as it had. */
  code: string;
}

/** Comments and strings out, so that words in them do not count. What is inside `${}` stays. */
function codeOf(text: string): string {
  const keepLines = (part: string) => part.replace(/[^\n]/g, "");
  return text.replace(/\/\*[\s\S]*?\*\/|(?<!:)\/\/[^\n]*|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'/g, (part) =>
    part.startsWith("/") ? keepLines(part) : '""',
  );
}

async function sources(directory: string): Promise<Source[]> {
  const names = (await readdir(join(projectRoot, directory), { recursive: true })).filter((name) =>
    name.endsWith(".ts"),
  );
  return Promise.all(
    names.map(async (name) => ({
      name: `${directory}/${name.split(sep).join("/")}`,
      code: codeOf(await readFile(join(projectRoot, directory, name), "utf8")),
    })),
  );
}

/** Where `pattern` occurs, as file:line. */
function places(files: Source[], pattern: RegExp): string[] {
  return files.flatMap(({ name, code }) =>
    code.split("\n").flatMap((line, i) => (pattern.test(line) ? [`${name}:${i + 1} ${line.trim()}`] : [])),
  );
}

const environment =
  /\bprocess\s*\.\s*env\b|\bprocess\s*\[|\{[^}]*\benv\b[^}]*\}\s*=\s*process\b|import\b.*\benv\b.*node:process/;
const impure =
  /\bDate\.now\b|\bnew Date\(\s*\)|\bMath\.random\b|\bset(Timeout|Interval|Immediate)\b|\bprocess\b|\bperformance\b|\brandom(UUID|Bytes|Int)\b|\bcrypto\.(getRandomValues|subtle)|\bfetch\(|\bconsole\b|\bqueueMicrotask\b/;

/** What is pure by its place, as .dependency-cruiser.cjs says. */
async function pureSources(): Promise<Source[]> {
  const rules = (await import(join(projectRoot, ".dependency-cruiser.cjs"))) as {
    default: { forbidden: { name: string; from: { path?: string[] } }[] };
  };
  const pure = rules.default.forbidden.find(({ name }) => name === "pure-stays-pure")!.from.path!;
  return (await sources("src")).filter(({ name }) => pure.some((path) => new RegExp(path).test(name)));
}

t.test("the patterns find what they should, and no words in comments or strings", async (t) => {
  const finds = (pattern: RegExp, text: string) => places([{ name: "x.ts", code: codeOf(text) }], pattern).length > 0;
  for (const text of [
    "process.env.X",
    "const { env } = process;",
    'process["env"]',
    "process\n  .env".replace("\n  ", ""),
  ]) {
    t.ok(finds(environment, text), text);
  }
  for (const text of ["Date.now()", "new Date()", "Math.random()", "setTimeout(f, 1)", "process.pid", "randomUUID()"]) {
    t.ok(finds(impure, `const a = ${text};`), text);
  }
  for (const text of [
    "// process.env",
    "/* process.env\n Math.random */",
    '"process.env"',
    "new Date(ms)",
    "a // setTimeout",
  ]) {
    t.notOk(finds(environment, text) || finds(impure, text), text);
  }
});

t.test("only environment.ts reads the environment", async (t) => {
  // binaries.ts hands PATH and the library path on to the PostgreSQL that it starts; nothing is configured by that.
  const allowed = new Set(["src/config/environment.ts", "src/database/postgres/binaries.ts"]);
  const found = places(
    (await sources("src")).filter(({ name }) => !allowed.has(name)),
    environment,
  );
  t.same(found, []);
});

t.test("pure files have no clock, no randomness and no process in them", async (t) => {
  const pure = await pureSources();
  for (const folder of ["sync/protocol", "sync/rules", "slices/rules", "files/rules", "subscriptions/rules"])
    t.ok(
      pure.some(({ name }) => name.startsWith(`src/${folder}/`)),
      folder,
    );
  t.same(places(pure, impure), []);
});

t.test("what a comment says of who alone knows a library is true", async (t) => {
  const names = (await readdir(join(projectRoot, "src"), { recursive: true })).filter((name) => name.endsWith(".ts"));
  const texts = new Map<string, string>();
  for (const name of names) texts.set(name, await readFile(join(projectRoot, "src", name), "utf8"));
  let claims = 0;
  for (const [name, text] of texts) {
    t.notMatch(
      text,
      /\b(one of the|the only) \w+ files that know/i,
      `${name}: they are counted by .dependency-cruiser.cjs`,
    );
    for (const [, library] of text.matchAll(/only file that knows `?([\w@/-]*\w)/g)) {
      claims++;
      const importers = [...texts].filter(([, other]) => other.includes(` from "${library}"`)).map(([other]) => other);
      t.same(importers, [name], `${library}`);
    }
  }
  t.ok(claims > 1, `${claims} claims`);
});

t.test("what comes from outside has its maximum in the schema", async (t) => {
  const unbounded =
    /z\.string\(\)(?!\.min\(1\)\.max\(|\.max\(|\.regex\()|z\.(record|any|map|set)\(|z\.array\((?:[^()]|\([^()]*\))*\)(?!\.max\()/;
  const outside = /^src\/(server\/|slices\/batch\.ts|sync\/(protocol|transport)\/)/;
  // What is in a token was signed by us.
  const files = (await sources("src")).filter(({ name }) => outside.test(name) && name !== "src/server/auth/token.ts");
  const schemas = files.map(({ name, code }) => ({ name, code: code.replace(/\s+/g, "") }));
  t.ok(schemas.filter(({ code }) => code.includes("z.string()")).length >= 6);
  for (const bad of ["z.string().optional()", "z.array(z.object({a:b}))", "z.record(a,b)"]) t.match(bad, unbounded);
  t.same(
    schemas.filter(({ code }) => unbounded.test(code)).map(({ name }) => name),
    [],
  );
});

t.test("a file that holds one idea is not long", async (t) => {
  const counts = await Promise.all(
    [...(await sources("src")), ...(await sources("bin"))].map(({ name, code }) => ({
      name,
      lines: code.split("\n").length - 1,
    })),
  );
  t.same(
    counts.filter(({ lines }) => lines > 330),
    [],
    "a file past about 300 lines is asking to be two",
  );
});

t.test("a statement's name is its own, so that the simulation takes none for another", async (t) => {
  const names = (await readdir(join(projectRoot, "src"), { recursive: true })).filter((name) => name.endsWith(".ts"));
  const texts = await Promise.all(names.map((name) => readFile(join(projectRoot, "src", name), "utf8")));
  const found = [...texts.join("").matchAll(/["'`]\/\* (\w+) \*\//g)].map(([, name]) => name!);
  t.ok(found.length > 90);
  t.same(
    found.filter((name, i) => found.indexOf(name) !== i),
    [],
  );
});
