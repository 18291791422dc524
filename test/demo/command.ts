/** Runs the real command, `node dist/bin/sandpiper.js`, as processes; ends every one that it has started. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { detail, took, typed } from "./story.ts";

const program = fileURLToPath(new URL("../../bin/sandpiper.js", import.meta.url));
const running = new Set<ChildProcess>();

/** What has gone wrong, in words for whoever watches the demo. */
export class DemoError extends Error {}

interface RunOptions {
  input?: string;
  /** What follows on the shown command line: where input comes from, or output goes to. */
  shown?: string;
}

/** One company's shell: its directory is where its commands run. */
export class Shell {
  constructor(
    /** Shown as the prompt. */
    private readonly name: string,
    private readonly directory: string,
    private readonly signal: AbortSignal,
  ) {}

  /** Runs `sandpiper ARGS`; shows the command as it is typed, and what it printed. */
  async run(args: readonly string[], options: RunOptions = {}): Promise<string> {
    const { stdout } = await this.quietly(args, options);
    for (const line of stdout.trimEnd().split("\n")) detail(line.replaceAll("\t", "   "));
    return stdout;
  }

  /** As `run`, but shows the command only. */
  async quietly(args: readonly string[], options: RunOptions = {}): Promise<{ stdout: string; stderr: string }> {
    const command = `${["sandpiper", ...args].map(shellWord).join(" ")}${options.shown ?? ""}`;
    typed(this.name, command);
    const startedMs = performance.now();
    const child = start(args, this.directory, this.signal);
    let stdout = "";
    let stderr = "";
    child.stdout.setEncoding("utf8").on("data", (piece) => (stdout += piece));
    child.stderr.setEncoding("utf8").on("data", (piece) => (stderr += piece));
    child.stdin.end(options.input ?? "");
    const [code, endedBy] = (await once(child, "close")) as [number | null, string | null];
    this.signal.throwIfAborted();
    if (code !== 0) throw new DemoError(`\`${command}\` ended with ${code ?? endedBy}:\n${stderr}${stdout}`);
    took(performance.now() - startedMs);
    return { stdout, stderr };
  }

  /** Starts `sandpiper serve` on a free port. @returns its address, from its log. */
  async serve(): Promise<string> {
    const args = ["serve", "--server.port", "0"];
    typed(this.name, `sandpiper ${args.join(" ")} &`);
    const startedMs = performance.now();
    const child = start(args, this.directory, this.signal);
    child.stdin.end();
    child.stdout.resume();
    const seen: string[] = [];
    const url = await new Promise<string>((resolve, reject) => {
      createInterface({ input: child.stderr }).on("line", (line) => {
        if (seen.length < 20) seen.push(line);
        if (line.includes('"server.listening"')) resolve((JSON.parse(line) as { url: string }).url);
      });
      child.once("error", reject);
      child.once("close", () => reject(new DemoError(`\`sandpiper serve\` ended:\n${seen.join("\n")}`)));
    });
    took(performance.now() - startedMs);
    return url;
  }
}

function start(args: readonly string[], cwd: string, signal: AbortSignal) {
  signal.throwIfAborted();
  const child = spawn(process.execPath, [program, ...args], { cwd, env: environment(), stdio: "pipe" });
  running.add(child);
  child.once("close", () => running.delete(child));
  child.stdin.on("error", () => {}); // it ended without reading: its exit code says so
  const stop = () => void child.kill("SIGTERM");
  signal.addEventListener("abort", stop);
  child.once("close", () => signal.removeEventListener("abort", stop));
  return child;
}

/** Asks every process to end, waits, and does not wait for ever. */
export async function endAll(): Promise<void> {
  const ends = [...running].map(async (child) => {
    const closed = once(child, "close");
    child.kill("SIGTERM");
    const timer = setTimeout(() => child.kill("SIGKILL"), 10_000);
    await closed.finally(() => clearTimeout(timer));
  });
  await Promise.allSettled(ends);
}
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

/** Without what somebody has exported for a sandpiper or a PostgreSQL of his own, or for the way to the internet: the demo stays away from those. */
function environment(): NodeJS.ProcessEnv {
  return Object.fromEntries(
    Object.entries(process.env).filter(
      ([name]) => !/^(SANDPIPER_(?!TEST_RUN$)|PG|NODE_OPTIONS$|(https?|no)_proxy$)/i.test(name),
    ),
  );
}

const shellWord = (word: string): string =>
  /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
