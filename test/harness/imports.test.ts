/** The import rules (.dependency-cruiser.cjs) catch what they are there to catch, shown on a small tree that breaks them all. */
import { execFile } from "node:child_process";
import { mkdir, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import t from "tap";
import { projectRoot } from "./project-root.ts";
import { scratch } from "./scratch.ts";

interface Violation {
  from: string;
  rule: { name: string };
}

async function violations(directory: string, files: Record<string, string>): Promise<string[]> {
  await symlink(join(projectRoot, "node_modules"), join(directory, "node_modules"));
  for (const name of ["package.json", "tsconfig.json"]) await symlink(join(projectRoot, name), join(directory, name));
  for (const [name, text] of Object.entries(files)) {
    await mkdir(dirname(join(directory, name)), { recursive: true });
    await writeFile(join(directory, name), text);
  }
  const program = join(projectRoot, "node_modules/dependency-cruiser/bin/dependency-cruise.mjs");
  const config = join(projectRoot, ".dependency-cruiser.cjs");
  const args = [program, "--config", config, "--output-type", "json", "bin", "src", "test"];
  const output = await new Promise<string>((resolve, reject) => {
    execFile(process.execPath, args, { cwd: directory, maxBuffer: 2 ** 26 }, (error, stdout, stderr) => {
      if (stdout === "") reject(error ?? new Error(stderr));
      else resolve(stdout);
    });
  });
  const { summary } = JSON.parse(output) as { summary: { violations: Violation[] } };
  return [...new Set(summary.violations.map(({ from, rule }) => `${from}: ${rule.name}`))].sort();
}

const good = {
  "bin/sandpiper.ts": 'import "../src/cli/program.ts";',
  "src/cli/program.ts": 'import "commander"; import "../app.ts"; import "../server/serve.ts"; import "../sync/run.ts";',
  "src/server/serve.ts":
    'import "express"; import type { App } from "../app.ts"; import "../sync/run.ts"; export type A = App;',
  "src/sync/run.ts": 'import type { App } from "../app.ts"; import "./messages.ts"; export type A = App;',
  "src/sync/messages.ts": 'import "zod"; import "../errors.ts";',
  "src/app.ts": 'import "./database.ts"; import "./subscriptions/company-store.ts"; export interface App { x: 1 }',
  "src/subscriptions/company-store.ts": 'import "../slices/slice-store.ts";',
  "src/slices/slice-store.ts": 'import "../scope.ts"; import "../database.ts"; import "./slice.ts";',
  "src/slices/slice.ts": 'import "../errors.ts"; export type CompanyId = string;',
  "src/scope.ts": 'import type { CompanyId } from "./slices/slice.ts"; export type C = CompanyId;',
  "src/database.ts": 'import "pg"; import "./config.ts";',
  "src/config.ts": 'import "yaml"; import "node:fs"; import "./errors.ts";',
  "src/errors.ts": "export {};",
  "test/one.test.ts": 'import "tap"; import "pg"; import "../src/sync/run.ts";',
};

t.test("a tree that keeps the rules passes", async (t) => {
  t.same(await violations(await scratch(t), good), []);
});

t.test("each rule catches its back-edge", async (t) => {
  const bad: Record<string, [text: string, rule: string]> = {
    "src/slices/one.ts": ['import "../sync/run.ts";', "slices-imports-only-downwards"],
    "src/slices/two.ts": [
      'import type { A } from "../server/serve.ts"; export type B = A;',
      "slices-imports-only-downwards",
    ],
    "src/subscriptions/one.ts": ['import "../sync/run.ts";', "subscriptions-imports-only-downwards"],
    "src/subscriptions/two.ts": ['import "../app.ts";', "subscriptions-imports-only-downwards"],
    "src/sync/one.ts": ['import "../server/serve.ts";', "sync-imports-only-downwards"],
    "src/server/one.ts": ['import "../cli/program.ts";', "server-imports-only-downwards"],
    "src/cli/one.ts": ['import "../../bin/sandpiper.ts";', "cli-imports-only-downwards"],
    "src/migrate.ts": ['import "./slices/slice.ts";', "migrate-imports-only-downwards"],
    "src/postgres/one.ts": ['import "../database.ts";', "postgres-imports-only-downwards"],
    "src/log.ts": ['import "./database.ts";', "foundation-imports-only-downwards"],
    "src/utils.ts": ['import "./errors.ts";', "known-layer"],
    "src/slices/cycle-a.ts": ['import "./cycle-b.ts";', ""],
    "src/slices/cycle-b.ts": ['import type { A } from "./cycle-a.ts"; export type B = A;', ""],
    "src/slices/three.ts": ['import "../../test/one.test.ts";', "not-to-test"],
    "src/slices/four.ts": ['import "./nowhere.ts";', "not-to-unresolvable"],
    "src/slices/pg.ts": ['import "pg";', "owner-of-pg"],
    "src/sync/commander.ts": [
      'import type { Command } from "commander"; export type C = Command;',
      "owner-of-commander",
    ],
    "src/sync/express.ts": ['import type { Request } from "express"; export type R = Request;', "owner-of-express"],
    "src/server/ws.ts": ['import type { WebSocket } from "ws"; export type W = WebSocket;', "owner-of-ws"],
    "src/server/jwt.ts": ['import "jsonwebtoken";', "owner-of-jsonwebtoken"],
    "src/sync/xxhash.ts": ['import "xxhash-wasm";', "owner-of-xxhash-wasm"],
    "src/slices/yaml.ts": ['import "yaml";', "owner-of-yaml"],
    "src/slices/tap.ts": ['import "tap";', "no-dev-dependency-shipped"],
    "src/server/app.ts": ['import { App } from "../app.ts"; export const a = App;', "app-is-a-type-below-the-commands"],
    "src/sync/frames.ts": ['import "./harmless.ts";', "pure-stays-pure"], // by way of another file
    "src/sync/harmless.ts": ['import { connect } from "node:net"; export { connect };', ""],
    "src/sync/reconcile.ts": ['import "node:fs/promises";', "pure-stays-pure"],
    "src/sync/primary-session.ts": [
      'import type { Database } from "../database.ts"; export type D = Database;',
      "pure-stays-pure",
    ],
    "src/subscriptions/rules.ts": [
      'import { randomUUID } from "node:crypto"; export { randomUUID };',
      "pure-has-no-randomness",
    ],
    "src/scope.ts": ['import "./slices/slice-store.ts";', "scope-imports-only-a-type"],
  };
  const files = { ...good, ...Object.fromEntries(Object.entries(bad).map(([name, [text]]) => [name, text])) };
  const found = await violations(await scratch(t), files);
  for (const [name, [text, rule]] of Object.entries(bad)) {
    if (rule !== "") t.ok(found.includes(`${name}: ${rule}`), `${name}: ${text}`);
  }
  // A circle is reported once, at whichever of its files.
  t.ok(
    found.some((line) => /^src\/slices\/cycle-[ab]\.ts: no-circular$/.test(line)),
    "a circle of types",
  );
  const untouched = Object.keys(good).filter((name) => !(name in bad));
  const blamed = found.filter(
    (line) => untouched.some((name) => line.startsWith(`${name}: `)) && !line.endsWith("no-circular"),
  );
  t.same(blamed, [], "nobody else is blamed");
});
