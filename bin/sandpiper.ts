#!/usr/bin/env node
/** The command `sandpiper`: runs the program, prints what went wrong, sets the exit code. */
import { runProgram } from "../src/cli/program.ts";
import { SandpiperError } from "../src/errors.ts";

const stop = new AbortController();
const stopOn = (name: NodeJS.Signals, code: "interrupted" | "terminated") =>
  // Once: a second signal ends the process at once, as if it were not handled.
  process.once(name, () =>
    stop.abort(new SandpiperError(code, `stopped by ${name}`, { hint: "What was not committed is rolled back." })),
  );
stopOn("SIGINT", "interrupted");
stopOn("SIGTERM", "terminated");

// Whoever read our output has gone, for example `head`. That is no failure of ours.
for (const stream of [process.stdout, process.stderr]) {
  stream.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") throw error;
  });
}

const { exitCode, complaint } = await runProgram(process.argv.slice(2), stop.signal);
if (complaint !== undefined) process.stderr.write(complaint);
process.exitCode = exitCode;
