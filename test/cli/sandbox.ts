/** A server set up in a directory of its own, on a database of its own, with the real command run in it. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { appendFile } from "node:fs/promises";
import { join } from "node:path";
import type { Test } from "tap";
import { runProgram } from "../../src/cli/program.ts";
import { parseConfig } from "../../src/config/config.ts";
import { type Database, openDatabase } from "../../src/database/database.ts";
import { type Outcome, type RunOptions, sandpiper, sandpiperProgram } from "../harness/process.ts";
import { scratch } from "../harness/scratch.ts";
import { createTestDatabase } from "../harness/test-database.ts";

/** What is waited for, and what is then typed. */
export type Dialogue = readonly (readonly [question: string, keys: string])[];

export type Refusal = readonly [args: readonly string[], code: number, message: string | RegExp];

export interface Sandbox {
  directory: string;
  databaseUrl: string;
  /** Runs `sandpiper ARGS` in the directory. */
  run(args: readonly string[], options?: RunOptions): Promise<Outcome>;
  /** As `run`, on a terminal, where both streams are one. */
  onTerminal(
    args: readonly string[],
    dialogue?: Dialogue,
    env?: Record<string, string>,
  ): Promise<{ code: number; screen: string }>;
  /**
   * Asserts that each of these command lines is refused: exit code, message, one sentence and a hint. They run in this process,
   * since starting one takes longer than all that a command does; paths among the arguments must be absolute.
   */
  refuses(t: Test, cases: readonly Refusal[]): Promise<void>;
  /** The one JSON document that a command prints with --json. */
  json(args: readonly string[]): Promise<unknown>;
  /** Works on the database as the program does. */
  withDatabase<T>(work: (db: Database) => Promise<T>): Promise<T>;
}

/** An empty directory and an empty database: before `init`. */
export async function emptySandbox(test: Pick<Test, "teardown">, name: string): Promise<Sandbox> {
  const directory = await scratch(test);
  const { url } = await createTestDatabase(name);
  const environment = { SANDPIPER_DATABASE_URL: url };
  const run = (args: readonly string[], options: RunOptions = {}) =>
    sandpiper(args, { cwd: directory, ...options, env: { ...environment, ...options.env } });
  return {
    directory,
    databaseUrl: url,
    run,
    onTerminal: (args, dialogue = [], env = {}) => onTerminal(directory, args, dialogue, { ...environment, ...env }),
    refuses: async (test, cases) => {
      for (const [args, code, message] of cases) {
        const argv = [...args, "--config", join(directory, "sandpiper.yaml")];
        const { exitCode, complaint } = await runProgram(argv, new AbortController().signal);
        test.equal(exitCode, code, args.join(" "));
        const [sentence, hint, ...rest] = (complaint ?? "").split("\n");
        test.match(sentence, message, args.join(" "));
        test.match(sentence, /^sandpiper: /);
        test.match(hint, /^\S.*/, "says what to do");
        test.same(rest, [""]);
      }
    },
    json: async (args) => {
      const { code, stdout, stderr } = await run([...args, "--json"]);
      if (code !== 0) throw new Error(`sandpiper ${args.join(" ")} ended with ${code}: ${stderr}`);
      return JSON.parse(stdout);
    },
    withDatabase: async (work) => {
      const config = parseConfig({ flags: [], environment, file: join(directory, "sandpiper.yaml") });
      const db = await openDatabase(config);
      return work(db).finally(() => db.close());
    },
  };
}

/** A server that is set up. */
export async function sandbox(test: Test, role: "primary" | "secondary", company = "ABC Brakes"): Promise<Sandbox> {
  const made = await emptySandbox(test, role);
  await made.json(["init", "--role", role, "--company", company]);
  // Also in the file, for what runs in this process.
  const database = `\ndatabase:\n  url: ${JSON.stringify(made.databaseUrl)}\n`;
  await appendFile(join(made.directory, "sandpiper.yaml"), database);
  return made;
}

const quoted = (word: string) => `'${word.replaceAll("'", "'\\''")}'`;

/** util-linux's `script` gives a command a terminal; what is typed comes from a pipe. */
async function onTerminal(cwd: string, args: readonly string[], dialogue: Dialogue, env: Record<string, string>) {
  const command = [process.execPath, sandpiperProgram, ...args].map(quoted).join(" ");
  const child = spawn("script", ["-qec", `stty cols 250 && exec ${command}`, "/dev/null"], {
    cwd,
    env: { PATH: process.env.PATH, HOME: process.env.HOME, TERM: "xterm-256color", ...env },
    stdio: ["pipe", "pipe", "inherit"],
  });
  let screen = "";
  let seen = 0;
  const left = [...dialogue];
  child.stdout.on("data", (piece: Buffer) => {
    screen += piece.toString();
    const next = left[0];
    if (next === undefined || !screen.slice(seen).includes(next[0])) return;
    left.shift();
    seen = screen.length;
    child.stdin.write(next[1]);
  });
  const timer = setTimeout(() => child.kill("SIGKILL"), 30_000);
  const [code] = (await once(child, "close")) as [number];
  clearTimeout(timer);
  return { code, screen };
}
