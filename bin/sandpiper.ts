#!/usr/bin/env node
/** The command `sandpiper`: runs the program, prints what went wrong, sets the exit code. */
import { processPrinter } from "../src/cli/printer.ts";
import { runProgram } from "../src/cli/program.ts";
import { Signals } from "../src/cli/signals.ts";
import { ignoreTlsVariable } from "../src/config.ts";

const signals = new Signals();
ignoreTlsVariable();
const { exitCode, complaint } = await runProgram(process.argv.slice(2), signals.stop, signals);
if (complaint !== undefined) processPrinter().tell(complaint);
process.exitCode = exitCode;
