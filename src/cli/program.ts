/** The program: its commands, and what becomes of what they throw. */
import { Command } from "commander";
import { defaultConfigFile, ignoreTlsVariable, loadConfig, splitFlags } from "../config/config.ts";
import { asSandpiperError, SandpiperError, worstExit } from "../errors.ts";
import { version } from "../version.ts";
import { registerActivity } from "./activity.ts";
import { registerAdd } from "./add.ts";
import { type Context, finishCommands, jsonHelp } from "./command.ts";
import { registerCompany } from "./company.ts";
import { registerInit } from "./init.ts";
import { registerList } from "./list.ts";
import { registerMaintain } from "./maintain.ts";
import { registerMigrate } from "./migrate.ts";
import { processPrinter } from "./printer.ts";
import { registerPull } from "./pull.ts";
import { describeError } from "./report.ts";
import { registerServe } from "./serve.ts";
import type { Signals } from "./signals.ts";
import { registerSlice } from "./slice.ts";
import { registerSubscription } from "./subscription.ts";
import { registerSync } from "./sync.ts";
import { explainUsage, HelpShown } from "./usage.ts";
import { registerUser } from "./user.ts";

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

function createProgram(context: Context): Command {
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
  registerInit(program, context);
  registerServe(program, context);
  registerCompany(program, context);
  registerSlice(program, context);
  registerSubscription(program, context);
  registerAdd(program, context);
  registerList(program, context);
  registerPull(program, context);
  registerSync(program, context);
  registerActivity(program, context);
  registerUser(program, context);
  registerMaintain(program, context);
  registerMigrate(program, context);
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
  const complaints = [error, unprinted].flatMap((one) =>
    one === undefined ? [] : [describeError(one, { json, debug: wantsDebug(context.flags, context.file) })],
  );
  return complaints.length === 0 ? { exitCode } : { exitCode, complaint: complaints.join("") };
}

/** @returns what it failed with. */
async function runCommand(argv: readonly string[], context: Context): Promise<SandpiperError | undefined> {
  try {
    const { flags, rest } = splitFlags(argv);
    context.flags.push(...flags);
    await createProgram(context).parseAsync(rest, { from: "user" });
    return undefined;
  } catch (thrown) {
    if (thrown instanceof HelpShown) return undefined;
    // What fails because it was told to stop says so, whatever it threw.
    const { signal } = context;
    return asSandpiperError(!signal.aborted || thrown instanceof SandpiperError ? thrown : signal.reason);
  }
}

/** Whether the log level is debug or finer, as far as the configuration can be read. */
function wantsDebug(flags: string[], file: string): boolean {
  try {
    return ["debug", "trace"].includes(loadConfig(flags, file, false).log.level);
  } catch {
    return flags.some((flag) => /^--log\.level=(debug|trace)$/.test(flag));
  }
}
