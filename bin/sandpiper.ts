#!/usr/bin/env node
/** The command `sandpiper`: runs the program, prints what went wrong, sets the exit code. */
import { processPrinter } from "../src/cli/printer.ts";
import { describeError } from "../src/cli/report.ts";
import { Signals } from "../src/cli/signals.ts";
import { checkSystemLimits } from "../src/cli/system-limits.ts";
import { environment } from "../src/config/environment.ts";
import { asSandpiperError } from "../src/errors.ts";

const argv = process.argv.slice(2);

// Reading the map takes a while: for what runs long, and for who reports a fault.
const wanted = `${argv.join(" ")} ${environment().SANDPIPER_LOG_LEVEL}`;
if (argv.includes("serve") || /\b(debug|trace)\b/.test(wanted)) process.setSourceMapsEnabled(true);

async function run(signals: Signals): Promise<{ exitCode: number; complaint?: string }> {
  try {
    checkSystemLimits();
    // Only now: it would not even load.
    const { runProgram } = await import("../src/cli/program.ts");
    return await runProgram(argv, signals.stop, signals);
  } catch (thrown) {
    const error = asSandpiperError(thrown);
    return {
      exitCode: error.exitCode,
      complaint: describeError(error, { json: argv.includes("--json"), debug: false }),
    };
  }
}

const signals = new Signals();
const { exitCode, complaint } = await run(signals);
if (complaint !== undefined) processPrinter().tell(complaint);
process.exitCode = exitCode;
signals.leaveTerminal();
// Node's own way out first forgets the signals: one that came in its last moments would decide how this ends.
process.once("exit", (code) => process.exit(code));
