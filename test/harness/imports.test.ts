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
  "src/cli/program.ts":
    'import "commander"; import "../app.ts"; import "../daemon/serve.ts"; import "../sync/run/run.ts";',
  "src/daemon/serve.ts": 'import "../server/upgrade.ts"; import "../server/rest/routes.ts";',
  "src/server/upgrade.ts":
    'import "ws"; import type { C } from "./context.ts"; import "../sync/primary/store.ts"; export type D = C;',
  "src/server/rest/routes.ts":
    'import "express"; import type { C } from "../context.ts"; import "../../sync/run/run.ts"; export type D = C;',
  "src/server/context.ts":
    'import type { App } from "../app.ts"; import "./auth/token.ts"; import "./http/listen.ts"; export type C = App;',
  "src/server/auth/token.ts": 'import "jsonwebtoken"; import "../http/listen.ts";',
  "src/server/http/listen.ts": 'import "node:http"; import "../../errors.ts";',
  "src/operations/add-company.ts":
    'import type { App } from "../app.ts"; import "../sync/run/run.ts"; export type A = App;',
  "src/sync/run/run.ts":
    'import type { App } from "../../app.ts"; import "../secondary/apply.ts"; export type A = App;',
  "src/sync/primary/store.ts": 'import "../protocol/messages.ts";',
  "src/sync/secondary/apply.ts": 'import "../transport/channel.ts";',
  "src/sync/transport/channel.ts": 'import "ws"; import "../protocol/messages.ts";',
  "src/sync/protocol/messages.ts": 'import "zod"; import "../../errors.ts";',
  "src/app.ts": 'import "./database/database.ts"; import "./companies/company-store.ts"; export interface App { x: 1 }',
  "src/subscriptions/subscription-store.ts": 'import "../companies/company-store.ts";',
  "src/companies/company-store.ts": 'import "../slices/slice-store.ts";',
  "src/slices/slice-store.ts":
    'import "../database/scope.ts"; import "../database/database.ts"; import "./rules/slice.ts";',
  "src/slices/rules/slice.ts": 'import "../../errors.ts"; import "../../ids.ts";',
  "src/database/scope.ts": 'import type { CompanyId } from "../ids.ts"; export type C = CompanyId;',
  "src/database/database.ts": 'import "pg"; import "../config/config.ts";',
  "src/config/config.ts": 'import "yaml"; import "node:fs"; import "../errors.ts";',
  "src/ids.ts": "export type CompanyId = string;",
  "src/errors.ts": "export {};",
  "test/one.test.ts": 'import "tap"; import "pg"; import "../src/sync/run/run.ts";',
};

t.test("a tree that keeps the rules passes", async (t) => {
  t.same(await violations(await scratch(t), good), []);
});

t.test("each rule catches its back-edge", async (t) => {
  const bad: Record<string, [text: string, rule: string]> = {
    "src/slices/one.ts": ['import "../sync/run/run.ts";', "slices-imports-only-downwards"],
    "src/slices/two.ts": [
      'import type { C } from "../server/context.ts"; export type B = C;',
      "slices-imports-only-downwards",
    ],
    "src/companies/one.ts": ['import "../subscriptions/subscription-store.ts";', "companies-imports-only-downwards"],
    "src/subscriptions/two.ts": ['import "../app.ts";', "subscriptions-imports-only-downwards"],
    "src/activity/one.ts": ['import "../sync/run/run.ts";', "activity-imports-only-downwards"],
    "src/operations/one.ts": ['import "../server/http/listen.ts";', "operations-imports-only-downwards"],
    "src/sync/run/one.ts": ['import "../../operations/add-company.ts";', "sync-run-imports-only-downwards"],
    "src/sync/secondary/one.ts": ['import "../primary/store.ts";', "sync-secondary-imports-only-downwards"],
    "src/sync/primary/one.ts": ['import "../secondary/apply.ts";', "primary-and-secondary-do-not-meet"],
    "src/sync/protocol/one.ts": ['import "../transport/channel.ts";', "sync-protocol-imports-only-downwards"],
    "src/server/http/one.ts": ['import "../auth/token.ts";', "server-http-imports-only-downwards"],
    "src/server/auth/one.ts": ['import "../rest/routes.ts";', "server-auth-imports-only-downwards"],
    "src/server/rest/one.ts": ['import "../upgrade.ts";', "server-rest-imports-only-downwards"],
    "src/daemon/one.ts": ['import "../cli/program.ts";', "daemon-imports-only-downwards"],
    "src/cli/one.ts": ['import "../../bin/sandpiper.ts";', "cli-imports-only-downwards"],
    "src/database/migrate.ts": ['import "../slices/rules/slice.ts";', "database-imports-only-downwards"],
    "src/config/one.ts": ['import "../database/database.ts";', "config-imports-only-downwards"],
    "src/log.ts": ['import "./database/database.ts";', "foundation-imports-only-downwards"],
    "src/utils.ts": ['import "./errors.ts";', "known-room"],
    "src/sync/flat.ts": ['import "../errors.ts";', "known-room"],
    "src/slices/cycle-a.ts": ['import "./cycle-b.ts";', ""],
    "src/slices/cycle-b.ts": ['import type { A } from "./cycle-a.ts"; export type B = A;', ""],
    "src/slices/three.ts": ['import "../../test/one.test.ts";', "not-to-test"],
    "src/slices/four.ts": ['import "./nowhere.ts";', "not-to-unresolvable"],
    "src/slices/pg.ts": ['import "pg";', "owner-of-pg"],
    "src/sync/run/commander.ts": [
      'import type { Command } from "commander"; export type C = Command;',
      "owner-of-commander",
    ],
    "src/sync/run/express.ts": ['import type { Request } from "express"; export type R = Request;', "owner-of-express"],
    "src/server/rest/ws.ts": ['import type { WebSocket } from "ws"; export type W = WebSocket;', "owner-of-ws"],
    "src/server/rest/jwt.ts": ['import "jsonwebtoken";', "owner-of-jsonwebtoken"],
    "src/sync/run/xxhash.ts": ['import "xxhash-wasm";', "owner-of-xxhash-wasm"],
    "src/slices/yaml.ts": ['import "yaml";', "owner-of-yaml"],
    "src/slices/tap.ts": ['import "tap";', "no-dev-dependency-shipped"],
    "src/server/rest/app.ts": [
      'import { App } from "../../app.ts"; export const a = App;',
      "app-is-a-type-below-the-commands",
    ],
    "src/slices/rules/by-way.ts": ['import "../harmless.ts";', "pure-stays-pure"], // by way of another file
    "src/slices/harmless.ts": ['import { connect } from "node:net"; export { connect };', ""],
    "src/sync/protocol/list-comparison.ts": ['import "node:fs/promises";', "pure-stays-pure"],
    "src/sync/protocol/primary-session.ts": [
      'import type { Database } from "../../database/database.ts"; export type D = Database;',
      "pure-stays-pure",
    ],
    "src/subscriptions/rules/rules.ts": [
      'import { randomUUID } from "node:crypto"; export { randomUUID };',
      "pure-has-no-randomness",
    ],
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
