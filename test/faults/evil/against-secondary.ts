/** The moves of an evil primary, one after another, each with ever more of the guards that it meets switched off. */

import { meanings } from "../../../src/errors.ts";
import type { PartnerReport } from "../../../src/sync/run/report.ts";
import { weighPrimaryMove } from "./alone.ts";
import { lay, type PrimaryMove } from "./primary-script.ts";
import type { Suspects } from "./suspects.ts";
import type { Switches } from "./switches.ts";
import type { Tally } from "./tally.ts";
import { sliceNames, type World } from "./world.ts";

/** A run that takes longer hangs. */
const deadlineMs = 90_000;

const text = (value: unknown) => JSON.stringify(value);

const said = (report: PartnerReport): string =>
  [report.error, ...report.results.map((result) => result.error)].flatMap((error) => error?.message ?? []).join("; ");

/** Whether the guard that fired last decided how the run ended. */
const named = (report: PartnerReport, firings: ReturnType<Switches["take"]>): boolean =>
  report.exitCode === 0 ||
  firings.length === 0 ||
  firings.some(
    ({ error }) => meanings[error.code].exit === report.exitCode && said(report).includes(error.message.slice(0, 80)),
  );

export async function withstand(
  world: World,
  switches: Switches,
  move: PrimaryMove,
  tally: Tally,
  suspects: Suspects,
): Promise<void> {
  const { evil } = world;
  const where = (what: string) =>
    `primary: ${move.name} (${move.slice})${switches.off.length === 0 ? "" : `, without ${switches.off.join(" | ")}`}: ${what}`;

  for (let round = 0; ; round++) {
    await lay(world, move);
    const [before, after] = [await world.here(), await world.there()];
    const first = round === 0;
    switches.take();
    evil.script = move;
    const sync = () => world.sync(AbortSignal.timeout(deadlineMs));
    const report = first
      ? await suspects.row(`primary: ${move.name} (${move.slice})`, sync, () => weighPrimaryMove(world, move))
      : await sync();
    evil.script = {};
    const firings = switches.take();
    tally.runs++;

    const now = await world.here();
    for (const name of sliceNames) {
      const id = world.ids.get(name)!;
      if (text(now[id]) !== text(before[id]) && text(now[id]) !== text(after[id]))
        tally.fault("mixed", where(`${name} is mixed`));
    }
    if (Object.keys(now).length !== sliceNames.length) tally.fault("foreign", where("there are other slices"));
    for (const trace of await world.traces()) tally.fault("foreign", where(trace));
    if (report.exitCode === meanings.interrupted.exit || report.durationMs > deadlineMs)
      tally.fault("hung", where("it hangs"));
    const outcome = `exit ${report.exitCode} (${said(report)}), after ${firings.map(({ guard }) => guard).join(" | ") || "no guard"}`;
    if (first && report.exitCode !== move.exit)
      tally.fault("wrong exit codes", where(`${outcome} in place of ${move.exit}`));
    if (first && move.says !== undefined && !move.says.test(said(report)))
      tally.fault("wrong exit codes", where(outcome));
    if (first && !named(report, firings)) tally.fault("not named", where(outcome));
    // 0 says that everything has arrived. Without a guard a primary can make us believe that a slice is the same: it need not even lie badly.
    if (first && report.exitCode === 0 && text(now) !== text(after)) tally.fault("wrong exit codes", where(outcome));
    tally.tell?.(where(outcome));

    if (move.once || !switches.switchOff(firings)) break;
  }
  switches.allOn();
  await world.dial(evil.url);
  for (let i = 1; i < (move.heals ?? 1); i++) await world.sync();
  const healed = await world.sync();
  if (healed.exitCode !== 0 || text(await world.here()) !== text(await world.there()))
    tally.fault("not converged", where(`after it: exit ${healed.exitCode} (${said(healed)})`));
}
