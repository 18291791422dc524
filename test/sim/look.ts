/** Runs the simulation on a program that was changed, to see what it finds. */
import { ask, checkKept, type Found, runSeeds } from "./ask.ts";
import { keptPlans } from "./kept.ts";
import { type Edits, smallLimits } from "./small-limits.ts";

/** Schedules that a fault has to be found in. */
const mostSeeds = 1000;
const stepSeeds = 250;

const none: Found = { schedules: 0, actions: 0, ms: 1, failed: [], missing: [], events: {} };

/** What a copy with these changes shows: what went wrong, the kept plans that found something again, and what never happened. */
export async function look(
  edits: Edits,
  until: (found: Found) => boolean,
): Promise<{ found: Found; kept: readonly string[]; schedules: number }> {
  const copy = smallLimits(edits);
  const events: Record<string, number> = {};
  let schedules = 0;
  try {
    // A copy that does not even start is no fault that was found.
    await ask(copy.directory, { ask: "sealed" });
    // Plans that found something once find it again.
    const died = (): Record<string, string[]> => ({ "the simulation died": ["died"] });
    const wrong = await checkKept(copy.directory).catch(died);
    const kept = Object.keys(wrong).filter((name) => wrong[name]!.length > 0);
    if (kept.length > 0) return { found: none, kept, schedules: keptPlans.length };
    for (;;) {
      const found = await runSeeds(copy.directory, schedules + 1, stepSeeds, 1, events);
      schedules += found.schedules;
      if (schedules >= mostSeeds || until(found)) return { found, kept, schedules };
    }
  } finally {
    copy.remove();
  }
}

/** Two changes, as one. */
export const together = (one: Edits, other: Edits): Edits => ({
  lines: [...(one.lines ?? []), ...(other.lines ?? [])],
  off: [...(one.off ?? []), ...(other.off ?? [])],
});
