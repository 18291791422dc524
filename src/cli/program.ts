/** The program: its commands, and what becomes of what they throw. */
import { Command } from "commander";
import { defaultConfigFile, splitFlags } from "../config.ts";
import { asSandpiperError, SandpiperError } from "../errors.ts";
import { version } from "../version.ts";
import { registerActivity } from "./activity.ts";
import { registerAdd } from "./add.ts";
import { type Context, finishCommands, jsonHelp } from "./command.ts";
import { registerCompany } from "./company.ts";
import { registerInit } from "./init.ts";
import { registerList } from "./list.ts";
import { registerMaintain } from "./maintain.ts";
import { registerMigrate } from "./migrate.ts";
import { registerPull } from "./pull.ts";
import { describeError, wantsDebug } from "./report.ts";
import { registerServe } from "./serve.ts";
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
  6  a subscription was denied    130  stopped by SIGINT
     or withdrawn                 143  stopped by SIGTERM`;

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
    .configureOutput({ writeErr: () => {} }) // errors are printed once, by the caller
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
 * @returns the exit code, and what to print on standard error if it failed.
 */
export async function runProgram(
  argv: readonly string[],
  signal: AbortSignal,
): Promise<{ exitCode: number; complaint?: string }> {
  const context: Context = { flags: [], signal, file: defaultConfigFile, exitCode: 0 };
  try {
    const { flags, rest } = splitFlags(argv);
    context.flags.push(...flags);
    await createProgram(context).parseAsync(rest, { from: "user" });
    return { exitCode: context.exitCode };
  } catch (thrown) {
    if (thrown instanceof HelpShown) return { exitCode: 0 };
    // What fails because it was told to stop says so, whatever it threw.
    const error = !signal.aborted || thrown instanceof SandpiperError ? thrown : signal.reason;
    const failure = asSandpiperError(error);
    const json = argv.slice(0, argv.includes("--") ? argv.indexOf("--") : undefined).includes("--json");
    const complaint = describeError(failure, { json, debug: wantsDebug(context.flags, context.file) });
    return { exitCode: failure.exitCode, complaint };
  }
}
