/** What all commands have in common: help with examples, --config and --json, and what they are given when they run. */
import { type Command, InvalidArgumentError } from "commander";
import type { App } from "../app.ts";
import { defaultConfigFile, tlsVariableIgnored } from "../config/environment.ts";
import { interruptible } from "./interruptible.ts";
import { Output } from "./output.ts";
import { Prompt } from "./prompt.ts";
import type { Signals } from "./signals.ts";
import { commandPath, explainUsage } from "./usage.ts";

/** What the whole process shares: made once, by runProgram. */
export interface Context {
  /** Dotted configuration flags, taken out of the command line by splitFlags. */
  readonly flags: string[];
  /** Aborted by SIGTERM and its like; its reason is the SandpiperError to end with. */
  readonly signal: AbortSignal;
  /** Those of this process; undefined where it is not the command's own. */
  readonly signals: Signals | undefined;
  /** The configuration file, once a command is known. */
  file: string;
  /** What a command that ends without an error returns. */
  exitCode: number;
}

/** What a command works with. */
export interface Cli {
  /** Where the configuration comes from, as withApp and loadConfig want it. */
  readonly source: { flags: string[]; file: string };
  readonly json: boolean;
  readonly output: Output;
  readonly prompt: Prompt;
  readonly signal: AbortSignal;
  readonly signals: Signals | undefined;
  /** The exit code of a run that is no error, yet not 0 either. */
  setExitCode(code: number): void;
  /** withApp, with a database that heeds the signal. Commands that handle it themselves call src/app.ts. */
  withApp<T>(work: (app: App) => Promise<T>): Promise<T>;
}

/** A group of commands, such as `company`. */
export function addGroup(parent: Command, name: string, summary: string): Command {
  const group = parent.command(name).description(summary).helpCommand(false);
  return group.exitOverride((error) => explainUsage(error, group));
}

/** A command. `usage` names it with its arguments: `add <name>`. The caller adds options and an {@link action}. */
export function addCommand(
  parent: Command,
  usage: string,
  help: { summary: string; details?: string; examples: readonly string[] },
): Command {
  const command = parent.command(usage).summary(help.summary);
  // Commander breaks lines to the width of the terminal; ours would be in its way.
  const details = help.details === undefined ? "" : `\n\n${help.details.replace(/\s+/g, " ")}`;
  command.description(help.summary + details);
  command.exitOverride((error) => explainUsage(error, command));
  const examples = help.examples.map((example) => `  $ ${example}`).join("\n");
  return command.addHelpText("after", `\nExamples:\n${examples}\n\n${configurationHelp}`);
}

const configurationHelp = `Configuration flags such as --server.port 8081 or --log.level debug work with every
command, and override the environment (SANDPIPER_SERVER_PORT) and the file.`;

/** Makes what a command does out of a function of these, the options and the arguments. */
export function action<Options, Args extends unknown[] = []>(
  context: Context,
  work: (cli: Cli, options: Options, ...args: Args) => Promise<void>,
): (...received: unknown[]) => Promise<void> {
  return async (...received) => {
    const command = received.pop() as Command;
    const options = received.pop() as Options & { quiet?: boolean };
    const cli = newCli(context, command);
    if (tlsVariableIgnored() && !options.quiet && command.name() !== "serve") cli.output.note(`Warning: ${tlsWarning}`);
    await work(cli, options, ...(received as Args));
  };
}

function newCli(context: Context, command: Command): Cli {
  const options = command.optsWithGlobals<{ config?: string; json?: boolean }>();
  const json = options.json === true;
  context.file = options.config ?? defaultConfigFile;
  const source = { flags: context.flags, file: context.file };
  return {
    source,
    json,
    output: new Output(json),
    prompt: new Prompt(json, context.signal),
    signal: context.signal,
    signals: context.signals,
    setExitCode: (code) => {
      context.exitCode = code;
    },
    withApp: async (work) => {
      // Loaded here alone: help is there before a driver for databases is.
      const { withApp } = await import("../app.ts");
      return withApp(source, commandPath(command), context.signal, (app) =>
        work({ ...app, db: interruptible(app.db, context.signal) }),
      );
    },
  };
}

export const tlsWarning = "NODE_TLS_REJECT_UNAUTHORIZED has no effect here: certificates are always verified.";

/** An option that may be repeated: the values in their order. */
export const collect = (value: string, previous: string[] = []): string[] => [...previous, value];

/** Gives every command below `root` the options that all have, and lets none be given twice. */
export function finishCommands(root: Command): void {
  for (const command of root.commands) {
    if (command.commands.length > 0) finishCommands(command);
    else
      command
        .option("--config <file>", `configuration file (default: ${defaultConfigFile})`)
        .option("--json", jsonHelp);
    refuseRepeats(command);
  }
}

export const jsonHelp = "print one JSON document";

function refuseRepeats(command: Command): void {
  for (const option of command.options) {
    const parse = option.parseArg;
    if (!option.required || parse === collect) continue;
    option.argParser<unknown>((value, previous) => {
      if (command.getOptionValueSource(option.attributeName()) === "cli") {
        throw new InvalidArgumentError("It is given twice.");
      }
      return parse === undefined ? value : parse(value, previous);
    });
  }
}
