/** Runs one compiled test file as a process, and reads its TAP with tap's own parser. */
import type { ChildProcess } from "node:child_process";
import { existsSync } from "node:fs";
import { Spawn } from "tap";
import type { FileResult } from "./report.ts";

/** For a whole file; a file that needs longer says so with `t.setTimeout(ms)`. */
const timeoutMs = 120_000;

/** Never rejects: whatever goes wrong with the file is one of its failures. */
export async function runTestFile(
  file: string,
  environment: NodeJS.ProcessEnv,
  signal: AbortSignal,
): Promise<FileResult> {
  const started = performance.now();
  const nothing = { passed: 0, skipped: 0, failures: [], output: "" };
  if (!existsSync(file)) return { ...nothing, failed: 1, problem: "there is no such file", ms: 0 };
  const child = new Spawn({
    name: file,
    command: process.execPath,
    args: ["--enable-source-maps", file],
    env: environment,
    stdio: ["ignore", "pipe", "pipe"],
    timeout: timeoutMs,
  });
  let output = "";
  const abort = () => child.proc?.kill("SIGKILL");
  signal.addEventListener("abort", abort);
  child.on("process", (process: ChildProcess) => {
    process.stderr?.on("data", (piece) => {
      output += piece;
    });
    if (signal.aborted) abort();
  });
  child.resume(); // its TAP, which the parser has seen
  await new Promise<void>((resolve) => {
    child.runMain(() => resolve());
  });
  signal.removeEventListener("abort", abort);

  const { pass, fail, skip, todo } = child.counts;
  const { exitCode, signal: endedBy } = child.options as { exitCode?: number | null; signal?: string | null };
  // Not `results.failures`, which has the outermost test points only.
  const failures = fail > 0 ? child.lists.fail : (child.results?.failures ?? []);
  const problem = fail > 0 ? undefined : whatWentWrong();
  return {
    passed: pass,
    failed: problem === undefined ? fail : 1,
    skipped: skip + todo,
    failures,
    problem,
    output,
    ms: performance.now() - started,
  };

  /** Of a file in which no assertion failed. */
  function whatWentWrong(): string | undefined {
    // tap closes the file when nothing is pending; a test that comes later is reported here alone, with exit code 0.
    if (output.includes("cannot create subtest after parent test ends")) {
      return "a test began after the file had ended: await between top-level tests only what is inside of one";
    }
    if (child.timedOut) return "took too long";
    if (endedBy) return `ended by ${endedBy}`;
    if (exitCode) return `ended with exit code ${exitCode}`;
    if (child.results?.ok === false) return "its TAP is not complete";
    if (pass + skip + todo === 0) return "asserted nothing";
    return undefined;
  }
}
