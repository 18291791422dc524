/**
 * `npm run test:evil`: an evil primary and an evil secondary make every move of a list. Each guard of the protocol is counted, and can be
 * switched off. A move is repeated without the guards that it met, until it meets none.
 */
import { spawn } from "node:child_process";
import { join } from "node:path";
import { guardNames } from "../../src/sync/protocol/guards.ts";
import { patchedCopy } from "../harness/patched-copy.ts";
import type { Figures } from "./figures.ts";

interface Result {
  moves: number;
  runs: number;
  wrong: Record<string, number>;
  faults: string[];
  fired: Record<string, number>;
}

/** The limits of time in the compiled program, made short: what takes minutes is proven as well in seconds. */
const hurry: Readonly<Record<string, Record<string, number>>> = {
  "src/sync/protocol/limits.js": { answerMs: 2000, lineMs: 2000 },
};

const shorter =
  (constants: Record<string, number>) =>
  (text: string): string =>
    Object.entries(constants).reduce((edited, [name, ms]) => {
      const next = edited.replace(new RegExp(`(const ${name} = )[^;]+;`), `$1${ms};`);
      if (next === edited) throw new Error(`there is no constant ${name}`);
      return next;
    }, text);

/** How much is done. */
export interface EvilCounts {
  /** What takes long as well. */
  patient: boolean;
  /** One of so many moves; with 1 every guard must have been reached. */
  every: number;
}

/** @param tell is told of each fault that was found. */
export async function sufferEvil(counts: EvilCounts, tell: (fault: string) => void): Promise<Figures> {
  const slow = Object.entries(hurry).map(([file, constants]) => [file, shorter(constants)]);
  const copy = patchedCopy(Object.fromEntries(slow));
  try {
    const { moves, runs, wrong, faults, fired } = await act(copy.directory, counts);
    const unreached = counts.every > 1 ? [] : guardNames.filter((name) => fired[name] === undefined);
    for (const fault of faults) tell(fault);
    for (const name of unreached) tell(`never reached: ${name}`);
    tell(`${moves} moves in ${runs} runs met ${Object.keys(fired).length} of ${guardNames.length} guards`);
    return { moves, "guards not reached": unreached.length, ...wrong };
  } finally {
    copy.remove();
  }
}

function act(directory: string, { patient, every }: EvilCounts): Promise<Result> {
  return new Promise((resolve, reject) => {
    const program = spawn(process.execPath, ["--expose-gc", join(directory, "dist/test/faults/evil/program.js")], {
      cwd: directory,
      env: { ...process.env, EVIL_EVERY: String(every), EVIL_PATIENT: patient ? "1" : "" },
      stdio: ["ignore", "pipe", "inherit"],
    });
    let out = "";
    program.stdout.on("data", (piece) => {
      out += piece;
    });
    program.on("error", reject);
    program.on("close", (code) => {
      const line = /^RESULT (.*)$/m.exec(out);
      if (line === null) reject(new Error(`the evil program ended with ${code} and without a result\n${out}`));
      else resolve(JSON.parse(line[1]!) as Result);
    });
  });
}
