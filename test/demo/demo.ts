/**
 * `npm run demo` or `npm run demo -- FILE`: a catalogue crosses from one company's server to another's. Two servers, each with
 * a configuration and an embedded PostgreSQL of its own, in a temporary directory; the real command throughout.
 *
 * Exit code 0 only if what arrived is what was sent, byte for byte; 2 for a FILE that cannot be used.
 */
import { accessSync, constants, existsSync, statSync } from "node:fs";
import { resolve } from "node:path";
import { DemoError, endAll } from "./command.ts";
import { tell } from "./replication.ts";
import { bad, good, say, seconds } from "./story.ts";
import { makeWorkplace, type Workplace } from "./workplace.ts";

const exitCodes = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 };
const usage = "Usage: npm run demo, or: npm run demo -- FILE";

const stop = new AbortController();
for (const name of Object.keys(exitCodes)) process.on(name, () => stop.abort(name));
// Whoever read the story has gone (`| head`): there is nobody to tell the rest to.
process.stdout.on("error", () => stop.abort("SIGHUP"));
process.stderr.on("error", () => {});

process.exitCode = await main(process.argv.slice(2), stop.signal);

async function main(args: string[], signal: AbortSignal): Promise<number> {
  const startedMs = performance.now();
  let place: Workplace | undefined;
  try {
    const file = givenFile(args);
    place = await makeWorkplace();
    say(
      `ABC Brakes publishes a catalogue; Epicor, its customer, gets a copy. Both are on this machine, in ${place.root}.`,
    );
    await tell(place, file, signal);
  } catch (error) {
    if (signal.aborted) {
      bad(`\nStopped by ${signal.reason}; cleaning up.`);
      return exitCodes[signal.reason as keyof typeof exitCodes];
    }
    bad(`\n${error instanceof DemoError ? error.message.trimEnd() : (error as Error).stack}`);
    return place === undefined ? 2 : 1;
  } finally {
    await endAll();
    await place?.remove();
  }
  good(
    `\nWhat was sent has arrived, byte for byte. ${seconds(performance.now() - startedMs)} in all; everything is cleaned up.`,
  );
  return 0;
}

/** The path of the file named on the command line. @throws when it cannot be used; nothing is started then. */
function givenFile(args: string[]): string | undefined {
  const [name] = args;
  if (name === undefined) return undefined;
  const refuse = (problem: string) => new DemoError(`demo: ${problem}\n${usage}`);
  if (args.length > 1) throw refuse(`one file at most, not ${args.length}`);
  // npm runs scripts in the project's directory, and says in INIT_CWD where it was called.
  const file = [process.env.INIT_CWD ?? ".", "."].map((at) => resolve(at, name)).find((path) => existsSync(path));
  if (file === undefined) throw refuse(`there is no file ${name}`);
  if (!statSync(file).isFile()) throw refuse(`${name} is not a regular file`);
  try {
    accessSync(file, constants.R_OK);
  } catch {
    throw refuse(`${name} cannot be read`);
  }
  return file;
}
