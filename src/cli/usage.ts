/** What commander complains about, as an error of ours: one sentence, and where the help is. */
import type { Command, CommanderError } from "commander";
import { SandpiperError } from "../errors.ts";

/** Thrown for --help and --version: all is printed, and the program ends well. */
export class HelpShown extends Error {}

/** `sandpiper company add`. */
export function commandPath(command: Command): string {
  return command.parent === null ? command.name() : `${commandPath(command.parent)} ${command.name()}`;
}

/** @throws what the program ends with: HelpShown, or a `usage` error. */
export function explainUsage(error: CommanderError, command: Command): never {
  if (error.exitCode === 0) throw new HelpShown();
  const path = commandPath(command);
  const help = `Run \`${path} --help\`.`;
  if (error.code === "commander.help") {
    const names = command.commands.map((sub) => sub.name()).filter((name) => name !== "help");
    const message = command.parent === null ? "no command was given" : `${path} needs a command: ${names.join(", ")}`;
    throw new SandpiperError("usage", message, { hint: help });
  }
  const [first, ...more] = error.message.replace(/^error: /, "").split("\n");
  const suggestion = more.join(" ").replace(/^\((.*)\)$/, "$1");
  throw new SandpiperError("usage", first!, { hint: suggestion === "" ? help : `${suggestion} ${help}` });
}
