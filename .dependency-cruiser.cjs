/**
 * Imports run one way, types included; each library has one owner; what is pure stays pure (ARCHITECTURE.md).
 * `npm run check:imports` applies this to the tree, and test/harness/imports.test.ts proves that it catches a back-edge.
 */

/** From top to bottom: a layer imports itself and what is below it. `app` opens what those above it work with. */
const layers = [
  ["bin", "^bin/"],
  ["cli", "^src/cli/"],
  ["server", "^src/server/"],
  ["sync", "^src/sync/"],
  ["app", "^src/app\\.ts$"],
  ["maintenance", "^src/maintenance/"],
  ["subscriptions", "^src/subscriptions/"],
  ["slices", "^src/slices/"],
  ["migrate", "^src/migrate\\.ts$"],
  ["database", "^src/(database(-url|-errors|-sessions)?|session-lock)\\.ts$"],
  ["postgres", "^src/postgres/"],
  [
    "foundation",
    "^src/(characters|config|config-fields|config-privacy|json-marks|log|log-destination|step|scope|session-settings|prepared|errors|atomic-file|version)\\.ts$",
  ],
];

/** Who alone may import a library. */
const owners = {
  "@node-rs/argon2": "^src/subscriptions/user-store\\.ts$",
  "cli-table3": "^src/cli/output\\.ts$",
  commander: "^(bin|src/cli)/",
  express: "^src/server/",
  helmet: "^src/server/",
  "https-proxy-agent": "^src/sync/proxy\\.ts$",
  jsonwebtoken: "^src/server/token\\.ts$",
  pg: "^src/(database(-errors|-sessions)?\\.ts$|postgres/)",
  "pg-copy-streams": "^src/database-sessions\\.ts$",
  pino: "^src/log\\.ts$",
  "proxy-from-env": "^src/sync/proxy\\.ts$",
  "rate-limiter-flexible": "^src/server/login-limit\\.ts$",
  // One file makes the server's end and one the client's; channel.ts wraps either.
  ws: "^src/(server/upgrade|sync/connect|sync/channel)\\.ts$",
  "xxhash-wasm": "^src/slices/hash\\.ts$",
  yaml: "^src/config\\.ts$",
  "yargs-parser": "^src/config\\.ts$",
};

/** No socket, no SQL, no file, no clock, no randomness; the last two are checked by test/harness/source-rules.test.ts. */
const pure = [
  "^src/sync/(budget|messages|message-sizes|frames|reconcile|retry|effects|find-difference|receive-grains|offer-list|json-rows)\\.ts$",
  "^src/sync/(coded-symbols|symbols|pieces|primary-port|serve-difference|serve-grains|primary-session|secondary-session|secondary-port)\\.ts$",
  "^src/subscriptions/(rules|company)\\.ts$",
  "^src/slices/(slice|metadata|hash|tuples|encoding|file-name|slice-directory|grouped|pull-turns)\\.ts$",
  "^src/server/fair-queue\\.ts$",
  "^src/(characters|scope|session-settings|errors|json-marks)\\.ts$",
];
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
      name: "known-layer",
      comment: "Every file under src/ belongs to a layer: add a new one to the list in .dependency-cruiser.cjs.",
      severity: "error",
      from: { path: shipped, pathNot: layers.map(([, path]) => path) },
      to: {},
    },
    {
      name: "known-layer-imported",
      comment: "Every file under src/ belongs to a layer: add a new one to the list in .dependency-cruiser.cjs.",
      severity: "error",
      from: {},
      to: { path: shipped, pathNot: layers.map(([, path]) => path) },
    },
    ...layers.slice(1).map(([name, path], i) => ({
      name: `${name}-imports-only-downwards`,
      comment: `${name} may import itself and: ${
        layers
          .slice(i + 2)
          .map(([below]) => below)
          .join(", ") || "nothing"
      }.`,
      severity: "error",
      // Who may see which rows is said in terms of companies, whose id is a type of slices/slice.ts.
      from: { path, ...(name === "foundation" ? { pathNot: "^src/scope\\.ts$" } : {}) },
      to: { path: layers.slice(0, i + 1).map(([, above]) => above) },
    })),
    {
      name: "scope-imports-only-a-type",
      comment: "scope.ts may import types of slices/slice.ts, and nothing else from above.",
      severity: "error",
      from: { path: "^src/scope\\.ts$" },
      to: { path: "^(bin|src)/", pathNot: "^src/(slices/slice|errors)\\.ts$" },
    },
    {
      name: "app-is-a-type-below-the-commands",
      comment: "server and sync are handed an App; only a command opens one.",
      severity: "error",
      from: { path: "^src/(server|sync)/" },
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
        path: [effects, "^src/(database|database-sessions|config|log|app|migrate)\\.ts$", "^src/postgres/"],
        reachable: true,
      },
    },
    {
      name: "pure-has-no-randomness",
      comment: "Of the pure files only hash.ts uses node:crypto, for SHA-1.",
      severity: "error",
      from: { path: pure, pathNot: "^src/slices/hash\\.ts$" },
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
