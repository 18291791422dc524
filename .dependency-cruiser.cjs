/**
 * Imports run one way, types included; each library has one owner; what is pure stays pure (ARCHITECTURE.md).
 * `npm run check:imports` applies this to the tree, and test/harness/imports.test.ts proves that it catches a back-edge.
 */

/** The rooms from top to bottom: a room imports itself and what is below it. `app` opens what those above it work with. */
const rooms = [
  ["bin", "^bin/"],
  ["cli", "^src/cli/"],
  ["daemon", "^src/daemon/"],
  ["server", "^src/server/(upgrade|sync-line)\\.ts$"],
  ["server/rest", "^src/server/rest/"],
  ["server/context", "^src/server/context\\.ts$"],
  ["server/auth", "^src/server/auth/"],
  ["server/http", "^src/server/http/"],
  ["operations", "^src/operations/"],
  ["sync/run", "^src/sync/run/"],
  ["sync/primary", "^src/sync/primary/"],
  ["sync/secondary", "^src/sync/secondary/"],
  ["sync/transport", "^src/sync/transport/"],
  ["sync/rules", "^src/sync/rules/"],
  ["sync/protocol", "^src/sync/protocol/"],
  ["app", "^src/app\\.ts$"],
  ["activity", "^src/activity/"],
  ["files", "^src/files/"],
  ["subscriptions", "^src/subscriptions/"],
  ["companies", "^src/companies/"],
  ["slices", "^src/slices/"],
  ["database", "^src/database/"],
  ["config", "^src/config/"],
  [
    "foundation",
    "^src/(aborted|atomic-file|characters|errors|ids|json-marks|log|log-destination|names|pieces|step|version)\\.ts$",
  ],
];

/** Who alone may import a library. */
const owners = {
  "@node-rs/argon2": "^src/companies/user-store\\.ts$",
  "cli-table3": "^src/cli/output\\.ts$",
  commander: "^(bin|src/cli)/",
  express: "^src/server/",
  "https-proxy-agent": "^src/sync/transport/proxy\\.ts$",
  jsonwebtoken: "^src/server/auth/token\\.ts$",
  pg: "^src/database/(database(-errors|-sessions)?\\.ts$|postgres/)",
  "pg-copy-streams": "^src/database/database-sessions\\.ts$",
  pino: "^src/log\\.ts$",
  "proxy-from-env": "^src/sync/transport/proxy\\.ts$",
  "rate-limiter-flexible": "^src/server/auth/login-limit\\.ts$",
  // One file makes the server's end and one the client's; channel.ts wraps either.
  ws: "^src/(server/upgrade|sync/transport/connect|sync/transport/channel)\\.ts$",
  "xxhash-wasm": "^src/slices/rules/hash\\.ts$",
  yaml: "^src/config/config\\.ts$",
  "yargs-parser": "^src/config/config\\.ts$",
};

/**
 * What decides: no socket, no SQL, no file, no clock, no randomness (the last two are checked by
 * test/harness/source-rules.test.ts). A folder is pure by its name.
 */
const pure = ["^src/[^.]*/(protocol|rules)/", "^src/(characters|errors|ids|json-marks|names|pieces)\\.ts$"];
const effects =
  "^(node:)?(fs|fs/promises|net|tls|http|https|http2|dgram|dns|child_process|worker_threads|os|timers|timers/promises)$";

/** Tests may use what they test with; the rules below are for what is shipped. */
const shipped = "^(bin|src)/";

module.exports = {
  forbidden: [
    {
      name: "no-circular",
      comment: "A cycle, types included: move the type to its owner.",
      severity: "error",
      from: {},
      to: { circular: true },
    },
    {
      name: "not-to-unresolvable",
      comment: "This import leads nowhere.",
      severity: "error",
      from: {},
      to: { couldNotResolve: true },
    },
    {
      name: "not-to-test",
      comment: "Nothing that is shipped imports a test.",
      severity: "error",
      from: { path: shipped },
      to: { path: "^test/" },
    },
    {
      name: "known-room",
      comment: "Every file under src/ stands in a room: a new room goes into the list in .dependency-cruiser.cjs.",
      severity: "error",
      from: { path: shipped, pathNot: rooms.map(([, path]) => path) },
      to: {},
    },
    {
      name: "known-room-imported",
      comment: "Every file under src/ stands in a room: a new room goes into the list in .dependency-cruiser.cjs.",
      severity: "error",
      from: {},
      to: { path: shipped, pathNot: rooms.map(([, path]) => path) },
    },
    ...rooms.slice(1).map(([name, path], i) => ({
      name: `${name.replace("/", "-")}-imports-only-downwards`,
      comment: `${name} may import itself and: ${
        rooms
          .slice(i + 2)
          .map(([below]) => below)
          .join(", ") || "nothing"
      }.`,
      severity: "error",
      from: { path },
      to: { path: rooms.slice(0, i + 1).map(([, above]) => above) },
    })),
    {
      name: "primary-and-secondary-do-not-meet",
      comment: "What both sides of a sync need stands below both.",
      severity: "error",
      from: { path: "^src/sync/primary/" },
      to: { path: "^src/sync/secondary/" },
    },
    {
      name: "app-is-a-type-below-the-commands",
      comment: "server and sync are handed an App; only a command opens one.",
      severity: "error",
      from: { path: "^src/(daemon|server|operations|sync)/" },
      to: { path: "^src/app\\.ts$", dependencyTypesNot: ["type-only"] },
    },
    ...Object.entries(owners).map(([library, owner]) => ({
      name: `owner-of-${library}`,
      comment: `Only ${owner} imports ${library}.`,
      severity: "error",
      from: { path: shipped, pathNot: owner },
      to: { path: `(^|/)node_modules/(@types/)?${library.replace("@", "@?")}/` },
    })),
    {
      name: "pure-stays-pure",
      comment: "A pure file reaches no socket, file or process, through no matter how many others.",
      severity: "error",
      from: { path: pure },
      to: {
        path: [effects, "^src/(log|app)\\.ts$", "^src/(config|database)/"],
        reachable: true,
      },
    },
    {
      name: "pure-has-no-randomness",
      comment: "Of the pure files only hash.ts uses node:crypto, for SHA-1.",
      severity: "error",
      from: { path: pure, pathNot: "^src/slices/rules/hash\\.ts$" },
      to: { path: "^(node:)?crypto$" },
    },
    {
      name: "no-dev-dependency-shipped",
      comment: "What is shipped runs without devDependencies.",
      severity: "error",
      from: { path: shipped },
      to: { dependencyTypes: ["npm-dev", "npm-no-pkg", "npm-unknown"], dependencyTypesNot: ["type-only"] },
    },
  ],
  options: {
    tsPreCompilationDeps: true, // an import of a type is an import
    tsConfig: { fileName: "tsconfig.json" },
    doNotFollow: { path: "node_modules" },
    enhancedResolveOptions: {
      exportsFields: ["exports"],
      conditionNames: ["import", "node", "default", "types"],
      extensions: [".ts", ".js", ".mjs", ".cjs", ".json"],
    },
  },
};
