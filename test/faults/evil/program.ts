/**
 * Evil peers against the program that this file is part of: a copy whose guards have switches (../evil.ts makes it). Prints one line of
 * JSON. EVIL_PATIENT=1 adds what takes long; EVIL_ONLY=WORDS takes the moves that have them in their name, EVIL_EVERY=N one of N; EVIL_TELL=1 says how each run went.
 */
import t from "tap";
import { EvilGuest } from "./against-primary.ts";
import { EvilFiles, pullMoves } from "./against-pull.ts";
import { withstand } from "./against-secondary.ts";
import { messageMoves } from "./primary-moves.ts";
import { recordMoves } from "./record-moves.ts";
import { secondaryMoves } from "./secondary-moves.ts";
import { endlessMoves, slowMoves, slowSecondaryMoves } from "./slow-moves.ts";
import { streamMoves } from "./stream-moves.ts";
import { Suspects } from "./suspects.ts";
import { Switches } from "./switches.ts";
import { Tally } from "./tally.ts";
import { World } from "./world.ts";

t.setTimeout(0);

const { EVIL_ONLY: only = "", EVIL_EVERY = "1", EVIL_PATIENT, EVIL_TELL } = process.env;
const patient = EVIL_PATIENT === "1";
const tally = new Tally();
if (EVIL_TELL === "1") tally.tell = (line) => process.stderr.write(`${Math.round(performance.now())} ${line}\n`);
for (const event of ["uncaughtException", "unhandledRejection"])
  process.on(event, (error: Error) => tally.fault("crashes", `${event}: ${error.stack}`));

const endings: (() => Promise<void>)[] = [];
try {
  const switches = new Switches();
  const world = await World.make({ teardown: (work) => endings.push(work) }, patient ? 30 : 2);
  const suspects = await Suspects.watch(world.primary.url);
  const chosen = <T extends { name: string }>(moves: readonly T[]) =>
    moves.filter(({ name }, i) => name.includes(only) && i % Number(EVIL_EVERY) === 0);
  for (const move of chosen([
    ...messageMoves,
    ...streamMoves,
    ...recordMoves,
    ...endlessMoves,
    ...(patient ? slowMoves : []),
  ])) {
    tally.moves++;
    await withstand(world, switches, move, tally, suspects);
  }
  const files = await EvilFiles.make({ teardown: (work) => endings.push(work) }, world);
  for (const move of chosen(pullMoves)) {
    tally.moves++;
    await files.attempt(move, tally);
  }
  const guest = await EvilGuest.make(world);
  for (const move of chosen([...secondaryMoves, ...(patient ? slowSecondaryMoves : [])])) {
    tally.moves++;
    await guest.attempt(switches, move, tally, suspects);
  }
  for (const what of await suspects.judge()) tally.fault("too heavy", what);
  const { moves, runs, counts: wrong, faults } = tally;
  const result = JSON.stringify({ moves, runs, wrong, faults, fired: Object.fromEntries(switches.fired) });
  process.stdout.write(`RESULT ${result}\n`);
} catch (error) {
  process.stderr.write(`${(error as Error).stack}\n`);
}
for (const end of endings.reverse()) await end();
process.exit(0);
