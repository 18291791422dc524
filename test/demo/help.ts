/** The program's own help: which commands there are, and which flags each of them takes. Run as a program, prints that as JSON. */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { runProgram } from "../../src/cli/program.ts";

const itself = fileURLToPath(import.meta.url);
type Commands = Record<string, string[]>;

/** Every command (`company add`) with its flags (`--id`). In a process of its own, because the help goes to standard output. */
export async function commandsAndFlags(): Promise<Map<string, Set<string>>> {
  const { stdout } = await promisify(execFile)(process.execPath, [itself]);
  const commands = Object.entries(JSON.parse(stdout) as Commands);
  return new Map(commands.map(([command, flags]) => [command, new Set(flags)]));
}

async function collect(command: readonly string[]): Promise<Commands> {
  const text = await printed([...command, "--help"]);
  const section = (title: string) => text.split(`\n${title}:\n`)[1]?.split("\n\n")[0] ?? "";
  const names = [...section("Commands").matchAll(/^ {2}([a-z]+)/gm)].map(([, name]) => name!);
  if (names.length === 0) {
    return {
      [command.join(" ")]: [...section("Options").matchAll(/^ {2}(?:-\w, )?(--[a-z-]+)/gm)].map(([, flag]) => flag!),
    };
  }
  const found: Commands = {};
  for (const name of names) if (name !== "help") Object.assign(found, await collect([...command, name]));
  return found;
}

const write = process.stdout.write.bind(process.stdout);

async function printed(argv: string[]): Promise<string> {
  let text = "";
  process.stdout.write = (piece: string | Uint8Array) => {
    text += piece;
    return true;
  };
  await runProgram(argv, new AbortController().signal);
  process.stdout.write = write;
  return text;
}

if (process.argv[1] === itself) write(JSON.stringify(await collect([])));
