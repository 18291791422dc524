/** The program: its commands, and what becomes of what they throw. */
import { Command } from "commander";
import { defaultConfigFile, ignoreTlsVariable } from "../config/environment.ts";
import { asSandpiperError, SandpiperError, worstExit } from "../errors.ts";
import { version } from "../version.ts";
import { type Context, finishCommands, jsonHelp } from "./command.ts";
import { processPrinter } from "./printer.ts";
import { describeError } from "./report.ts";
import type { Signals } from "./signals.ts";
import { explainUsage, HelpShown } from "./usage.ts";

const exitCodes = `Exit codes:
  0  done, or in sync               7  deferred by the primary
  1  internal error                 8  verification failed
  2  usage or configuration         9  local storage
  3  network                       10  another sync is running
  4  the partner broke the         11  a limit or safety stop
     protocol                      20  differences (sync --noupdate
  5  authentication refused            --detailed-exitcode)
  6  a subscription was denied    129, 130, 131, 143  stopped by
     or withdrawn                      SIGHUP, INT, QUIT, TERM`;

/** The commands, in the order of the help. One is loaded when it is called for, so that none waits for what another needs. */
const commands: Record<string, () => Promise<(program: Command, context: Context) => void>> = {
  init: async () => (await import("./init.ts")).registerInit,
  serve: async () => (await import("./serve.ts")).registerServe,
  company: async () => (await import("./company.ts")).registerCompany,
  slice: async () => (await import("./slice.ts")).registerSlice,
  subscription: async () => (await import("./subscription.ts")).registerSubscription,
  add: async () => (await import("./add.ts")).registerAdd,
  list: async () => (await import("./list.ts")).registerList,
  pull: async () => (await import("./pull.ts")).registerPull,
  sync: async () => (await import("./sync.ts")).registerSync,
  activity: async () => (await import("./activity.ts")).registerActivity,
  user: async () => (await import("./user.ts")).registerUser,
  maintain: async () => (await import("./maintain.ts")).registerMaintain,
  migrate: async () => (await import("./migrate.ts")).registerMigrate,
};

/** Those that a command line needs: the one that it calls; all for help, and where none is named. */
function needed(words: readonly string[]): string[] {
  for (let i = 0; i < words.length; i++) {
    const word = words[i]!;
    if (word === "--version" || word === "-V") return [];
    if (word === "--config") i++;
    else if (Object.hasOwn(commands, word)) return [word];
    else if (word !== "--json" && !word.startsWith("--config=")) break;
  }
  return Object.keys(commands);
}

async function createProgram(context: Context, words: readonly string[]): Promise<Command> {
  const program = new Command("sandpiper");
  program
    .description(
      "Replicates car-parts catalogues between a primary, which owns them, and a secondary, which subscribes.",
    )
    .version(version, "-V, --version", "print the version")
    .option("--config <file>", `configuration file (default: ${defaultConfigFile})`)
    .option("--json", jsonHelp)
    .enablePositionalOptions()
    // Errors are printed once, by the caller.
    .configureOutput({ writeOut: (text) => void processPrinter().print(text), writeErr: () => {} })
    .addHelpText("after", `\n\`sandpiper COMMAND --help\` has examples.\n\n${exitCodes}`)
    .exitOverride((error) => explainUsage(error, program));
  for (const name of needed(words)) (await commands[name]!())(program, context);
  finishCommands(program);
  return program;
}

/**
 * Runs a command line.
 *
 * @param signal stops the command; its reason is the error to end with.
 * @param signals those of this process, if it has them.
 * @returns the exit code, and what to print on standard error if something failed.
 */
export async function runProgram(
  argv: readonly string[],
  signal: AbortSignal,
  signals?: Signals,
): Promise<{ exitCode: number; complaint?: string }> {
  if (signals !== undefined) ignoreTlsVariable();
  const context: Context = { flags: [], signal, signals, file: defaultConfigFile, exitCode: 0 };
  const error = await runCommand(argv, context);
  const unprinted = await processPrinter().failure(error);
  const exitCode = worstExit([error?.exitCode ?? context.exitCode, unprinted?.exitCode ?? 0]);
  const json = argv.slice(0, argv.includes("--") ? argv.indexOf("--") : undefined).includes("--json");
  const failures = [error, unprinted].filter((one) => one !== undefined);
  if (failures.length === 0) return { exitCode };
  const debug = await wantsDebug(context.flags, context.file);
  return { exitCode, complaint: failures.map((one) => describeError(one, { json, debug })).join("") };
}

/** @returns what it failed with. */
async function runCommand(argv: readonly string[], context: Context): Promise<SandpiperError | undefined> {
  try {
    const { flags, rest } = await withoutFlags(argv);
    context.flags.push(...flags);
    const program = await createProgram(context, rest);
    await program.parseAsync([...rest], { from: "user" });
    return undefined;
  } catch (thrown) {
    if (thrown instanceof HelpShown) return undefined;
    // What fails because it was told to stop says so, whatever it threw.
    const { signal } = context;
    return asSandpiperError(!signal.aborted || thrown instanceof SandpiperError ? thrown : signal.reason);
  }
}

/** What a command line says of the configuration, and the rest. What knows its keys is loaded only if it says something. */
async function withoutFlags(argv: readonly string[]): Promise<{ flags: string[]; rest: readonly string[] }> {
  if (!argv.some((word) => /^--[a-z_]+\./.test(word))) return { flags: [], rest: argv };
  const { splitFlags } = await import("../config/flags.ts");
  return splitFlags(argv);
}

/** Whether the log level is debug or finer, as far as the configuration can be read. */
async function wantsDebug(flags: string[], file: string): Promise<boolean> {
  try {
    const { loadConfig } = await import("../config/config.ts");
    return ["debug", "trace"].includes(loadConfig(flags, file, false).log.level);
  } catch {
    return flags.some((flag) => /^--log\.level=(debug|trace)$/.test(flag));
  }
}
