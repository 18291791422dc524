/**
 * Runs one compiled test file as a process, and reads its TAP with tap's own parser. The process is an ordinary one: tap's
 * Spawn would instrument it and everything that it starts, with signal handlers that the real program does not have.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import t, { Stdin } from "tap";
import type { FileResult } from "./report.ts";

/** For a whole file; one that needs longer says so with `t.setTimeout(ms)`. tap ends it, and says what it waits for. */
const timeoutSeconds = 120;
/** One that is too busy to be ended by tap, or whose handles outlive it, is killed. */
const mostMs = 11 * 60_000;

// Importing tap makes this process a test file too, which tap would end after 30 s.
t.setTimeout(0);

/** Never rejects: whatever goes wrong with the file is one of its failures. */
export async function runTestFile(
  file: string,
  environment: NodeJS.ProcessEnv,
  signal: AbortSignal,
): Promise<FileResult> {
  const started = performance.now();
  if (!existsSync(file)) {
    return { passed: 0, failed: 1, skipped: 0, failures: [], problem: "there is no such file", output: "", ms: 0 };
  }
  const child = spawn(process.execPath, ["--enable-source-maps", file], {
    env: { ...environment, TAP: "1", TAP_TIMEOUT: String(timeoutSeconds) },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const closed = once(child, "close");
  const killed = killInTime(child, signal);
  let output = "";
  child.stderr.on("data", (piece) => {
    output += piece;
  });
  const reader = new Stdin({ name: file, tapStream: child.stdout });
  reader.resume(); // what it passes on; the parser has seen it
  await new Promise<void>((resolve) => {
    reader.runMain(() => resolve());
  });
  await closed;
  killed.stop();

  const { pass, fail, skip, todo } = reader.counts;
  const problem = fail > 0 ? undefined : whatWentWrong();
  return {
    passed: pass,
    failed: problem === undefined ? fail : 1,
    skipped: skip + todo,
    // Not `results.failures` alone, which has the outermost test points only.
    failures: fail > 0 ? reader.lists.fail : (reader.results?.failures ?? []),
    problem,
    output,
    ms: performance.now() - started,
  };

  /** Of a file in which no assertion failed. */
  function whatWentWrong(): string | undefined {
    // tap closes the file when nothing is pending; a test that comes later is reported here alone, with exit code 0.
    if (output.includes("cannot create subtest after parent test ends")) {
      return "a test began after the file had ended: await nothing between top-level tests, or put it into a test";
    }
    if (killed.reason !== undefined) return killed.reason;
    if (child.signalCode !== null) return `ended by ${child.signalCode}`;
    if (child.exitCode !== 0) return `ended with exit code ${child.exitCode}`;
    if (reader.results?.ok === false) return "its TAP is not complete";
    if (pass + skip + todo === 0) return "asserted nothing";
    return undefined;
  }
}

/** Kills the process when it takes too long or the run is stopped. */
function killInTime(child: ChildProcess, signal: AbortSignal): { reason: string | undefined; stop(): void } {
  const kill = (reason: string) => {
    state.reason = reason;
    child.kill("SIGKILL");
  };
  const timer = setTimeout(kill, mostMs, "took too long");
  const abort = () => kill("stopped with the run");
  signal.addEventListener("abort", abort);
  const state = {
    reason: undefined as string | undefined,
    stop() {
      clearTimeout(timer);
      signal.removeEventListener("abort", abort);
    },
  };
  if (signal.aborted) abort();
  return state;
}
