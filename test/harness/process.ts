/**
 * Runs the real command as a process of its own. Every process that is started here is ended with the test file, also when it
 * fails; no other process is touched.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync } from "node:fs";
import { fileURLToPath } from "node:url";
import t from "tap";

/** The compiled command: dist/bin/sandpiper.js. */
export const sandpiperProgram = fileURLToPath(new URL("../../bin/sandpiper.js", import.meta.url));

export interface ProcessOptions {
  /** Where it runs; also where it looks for sandpiper.yaml. */
  cwd?: string;
  /** Added to an environment without anything of sandpiper, PostgreSQL, tap, Node or proxies in it; undefined takes a variable away. */
  env?: Record<string, string | undefined>;
  /** For node itself, before the program, such as `--import`. */
  nodeArgs?: readonly string[];
  /** Files that a stream is appended to, instead of being read here. */
  into?: { stdout?: string; stderr?: string };
}

export interface RunOptions extends ProcessOptions {
  /** Standard input; without it, there is none. */
  input?: string | Uint8Array;
  /** Ends the process with SIGTERM. */
  signal?: AbortSignal;
  /** After this long it is killed and the call fails; 60 s unless said otherwise. */
  timeoutMs?: number;
}

export interface Exit {
  /** Null when a signal ended it. */
  code: number | null;
  signal: NodeJS.Signals | null;
}

export interface Outcome extends Exit {
  stdout: string;
  stderr: string;
}

/** A process that was started and is still there. */
export interface Running {
  pid: number;
  /** What it has printed so far. */
  stdout(): string;
  stderr(): string;
  /** Resolves when it has ended and all that it printed was read. */
  exited: Promise<Exit>;
  kill(signal: NodeJS.Signals): void;
}

const running = new Set<ChildProcess>();
const killAll = () => {
  for (const child of running) child.kill("SIGKILL");
};
process.on("exit", killAll);
t.teardown(async () => {
  const ends = [...running].map((child) => once(child, "close"));
  killAll();
  await Promise.all(ends);
});

/** Starts `sandpiper ARGS` and does not wait for it. @param options.openInput leaves standard input open, and silent. */
export function startSandpiper(
  args: readonly string[],
  options: ProcessOptions & { input?: string | Uint8Array; openInput?: boolean } = {},
) {
  return start([...(options.nodeArgs ?? []), sandpiperProgram, ...args], options);
}

/** Runs `sandpiper ARGS` to its end. Never rejects for an exit code: tests look at it. */
export async function sandpiper(args: readonly string[], options: RunOptions = {}): Promise<Outcome> {
  const child = startSandpiper(args, options);
  const terminate = () => child.kill("SIGTERM");
  if (options.signal?.aborted) terminate();
  options.signal?.addEventListener("abort", terminate);
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    child.kill("SIGKILL");
  }, options.timeoutMs ?? 60_000);
  const exit = await child.exited;
  clearTimeout(timer);
  options.signal?.removeEventListener("abort", terminate);
  if (late) throw new Error(`sandpiper ${args.join(" ")} did not end\n${child.stdout()}\n${child.stderr()}`);
  return { ...exit, stdout: child.stdout(), stderr: child.stderr() };
}

export interface ServerProcess {
  /** Where it listens, such as http://127.0.0.1:40123. */
  url: string;
  pid: number;
  stderr(): string;
  exited: Promise<Exit>;
  /** Asks it to end (SIGTERM unless said otherwise) and waits for that. */
  stop(signal?: NodeJS.Signals): Promise<Exit>;
  /** Ends it without a chance to do anything more. */
  kill9(): Promise<Exit>;
}

/**
 * Starts `sandpiper serve` on a free port and waits until it listens.
 *
 * @param options.args more arguments; `--server.port` among them replaces port 0.
 */
export async function startServer(
  options: ProcessOptions & { args?: readonly string[]; timeoutMs?: number } = {},
): Promise<ServerProcess> {
  const args = options.args ?? [];
  const port = args.some((word) => word.startsWith("--server.port")) ? [] : ["--server.port", "0"];
  const child = startSandpiper(["serve", ...port, ...args], options);
  const deadline = Date.now() + (options.timeoutMs ?? 30_000);
  let url: string | undefined;
  let ended = false;
  void child.exited.then(() => {
    ended = true;
  });
  while (url === undefined) {
    url = listeningUrl(child.stderr()) ?? listeningUrl(child.stdout());
    if (url !== undefined) break;
    if (ended || Date.now() > deadline) {
      child.kill("SIGKILL");
      const { code, signal } = await child.exited;
      const how = ended ? `ended with ${code ?? signal}` : "did not listen in time";
      throw new Error(`sandpiper serve ${how}\n${child.stdout()}\n${child.stderr()}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  const endBy = (signal: NodeJS.Signals) => {
    child.kill(signal);
    return child.exited;
  };
  return {
    url,
    pid: child.pid,
    stderr: child.stderr,
    exited: child.exited,
    stop: (signal = "SIGTERM") => endBy(signal),
    kill9: () => endBy("SIGKILL"),
  };
}

/** The address in the log line of the event `server.listening`, when it is there. */
function listeningUrl(log: string): string | undefined {
  for (const line of log.split("\n").slice(0, -1)) {
    if (!line.includes("server.listening")) continue;
    const { event, url } = JSON.parse(line) as { event?: string; url?: string };
    if (event === "server.listening" && url !== undefined) return url;
  }
  return undefined;
}

function start(
  args: string[],
  options: ProcessOptions & { input?: string | Uint8Array; openInput?: boolean },
): Running {
  const stdio = options.input === undefined && !options.openInput ? "ignore" : "pipe";
  const place = (file: string | undefined): "pipe" | number => (file === undefined ? "pipe" : openSync(file, "a"));
  const [stdout, stderr] = [place(options.into?.stdout), place(options.into?.stderr)];
  const child: ChildProcess = spawn(process.execPath, args, {
    cwd: options.cwd,
    env: cleanEnvironment(options.env),
    stdio: [stdio, stdout, stderr],
  });
  for (const file of [stdout, stderr]) if (typeof file === "number") closeSync(file);
  running.add(child);
  const out: Buffer[] = [];
  const err: Buffer[] = [];
  child.stdout?.on("data", (piece: Buffer) => out.push(piece));
  child.stderr?.on("data", (piece: Buffer) => err.push(piece));
  child.stdin?.on("error", () => {}); // it may end without having read everything
  if (!options.openInput) child.stdin?.end(options.input);
  const exited = new Promise<Exit>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code, signal) => {
      running.delete(child);
      resolve({ code, signal });
    });
  });
  exited.catch(() => running.delete(child));
  return {
    pid: child.pid ?? 0,
    stdout: () => Buffer.concat(out).toString(),
    stderr: () => Buffer.concat(err).toString(),
    exited,
    kill: (signal) => void child.kill(signal),
  };
}

/** What a developer has exported must not change what a test sees. */
function cleanEnvironment(added: ProcessOptions["env"] = {}): NodeJS.ProcessEnv {
  const base = Object.entries(process.env).filter(
    ([name]) => !/^(SANDPIPER_(?!TEST_RUN$)|SP_FP|PG|TAP|_TAPJS|NODE_|FORCE_COLOR$|(https?|no|all)_proxy$)/i.test(name),
  );
  return { ...Object.fromEntries(base), NO_COLOR: "1", ...added };
}
