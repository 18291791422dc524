/**
 * What `npm test` runs: every dist/test/**\/*.test.js (or the files named as arguments) on one PostgreSQL, a process a file.
 *
 * Files run without tap's command, but through its parser: the command would load a TypeScript loader into every process,
 * and rebuild itself inside node_modules to leave it out. The last line is `N passed, N failed`, in assertions as tap
 * counts them; a file that crashed, ended early or asserted nothing counts as one more that failed.
 *
 * SANDPIPER_TEST_JOBS=N runs N files at once; unless said otherwise one more than there are cores, since many
 * of them wait, but 4 at most.
 */
import { randomBytes } from "node:crypto";
import { existsSync, readdirSync } from "node:fs";
import { availableParallelism } from "node:os";
import { relative, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { endRun, runVariable } from "./leftovers.ts";
import { projectRoot } from "./project-root.ts";
import { type FileResult, report } from "./report.ts";
import { serverEnvironment, startTestServer } from "./test-database.ts";
import { runTestFile } from "./test-file.ts";

const testRoot = fileURLToPath(new URL("..", import.meta.url));
const jobs = Number(process.env.SANDPIPER_TEST_JOBS ?? Math.min(4, availableParallelism() + 1));
const runId = randomBytes(16).toString("hex");
const interrupted = new AbortController();
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => interrupted.abort(signal));

const started = performance.now();
const totals = { passed: 0, failed: 0, skipped: 0 };

try {
  const files = chosenFiles(process.argv.slice(2));
  if (files.length === 0) console.log(`no test files in ${testRoot}`);
  const server = await startTestServer();
  console.log(`${files.length} test files, PostgreSQL ready after ${seconds(performance.now() - started)}`);
  try {
    const environment = { ...process.env, ...serverEnvironment(server), [runVariable]: runId };
    await Promise.all(Array.from({ length: jobs }, () => work(files, environment)));
  } finally {
    const ended = await endRun(runId);
    if (ended.length > 0)
      console.log(`ended ${ended.length} processes that tests had left behind: ${ended.join(", ")}`);
    await server.stop();
  }
} catch (error) {
  totals.failed++;
  console.log(error);
}
if (interrupted.signal.aborted) {
  totals.failed++;
  console.log(`stopped by ${interrupted.signal.reason}`);
} else if (totals.passed + totals.failed === 0) {
  totals.failed++;
  console.log("no test was executed");
}
console.log(`${seconds(performance.now() - started)} in all${totals.skipped > 0 ? `, ${totals.skipped} skipped` : ""}`);
console.log(`${totals.passed} passed, ${totals.failed} failed`);
process.exitCode = totals.failed === 0 ? 0 : 1;

/** Takes files from the queue until it is empty. */
async function work(queue: string[], environment: NodeJS.ProcessEnv): Promise<void> {
  for (;;) {
    const file = interrupted.signal.aborted ? undefined : queue.shift();
    if (file === undefined) return;
    const result: FileResult = await runTestFile(file, environment, interrupted.signal);
    totals.passed += result.passed;
    totals.failed += result.failed;
    totals.skipped += result.skipped;
    console.log(report(relative(testRoot, file), result));
  }
}

/** The compiled files to run; a source's name (test/x.test.ts) stands for its compiled file. */
function chosenFiles(named: string[]): string[] {
  if (named.length > 0) {
    const sourceRoot = resolve("test") + sep;
    return named.map((name) => {
      const path = resolve(name);
      const inTest = path.endsWith(".ts") && path.startsWith(sourceRoot);
      return inTest ? resolve(testRoot, path.slice(sourceRoot.length).replace(/\.ts$/, ".js")) : path;
    });
  }
  // tsc leaves compiled files behind whose sources were removed or renamed: those are not run.
  const hasSource = (name: string) => existsSync(resolve(projectRoot, "test", name.replace(/\.js$/, ".ts")));
  const found = readdirSync(testRoot, { recursive: true, encoding: "utf8" }).filter(
    (name) => name.endsWith(".test.js") && hasSource(name),
  );
  // The long ones first, so that none runs alone at the end.
  const isLong = (name: string) => Number(/^(integration|sim|faults|demo|sync\/protocol\/sets)\b/.test(name));
  return found.sort((a, b) => isLong(b) - isLong(a) || (a < b ? -1 : 1)).map((name) => resolve(testRoot, name));
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}
