/** Runs the simulation on a program that was changed, to see what it finds. */
import { type Found, replayed, runSeeds } from "./ask.ts";
import { keptPlans } from "./kept.ts";
import { type Edits, smallLimits } from "./small-limits.ts";

/** Schedules that a fault has to be found in. */
const mostSeeds = 2000;
const stepSeeds = 250;

/** What a copy with these changes shows: what went wrong, and what never happened. */
export async function look(
  edits: Edits,
  until: (found: Found) => boolean,
): Promise<{ found: Found; kept: number; schedules: number }> {
  const copy = smallLimits(edits);
  const events: Record<string, number> = {};
  let schedules = 0;
  try {
    // Plans that found something once find it again.
    let kept = 0;
    for (const { plan } of keptPlans) {
      schedules++;
      const { violations } = await replayed(copy.directory, { ask: "replay", plan });
      if (violations.length > 0) kept++;
    }
    for (;;) {
      const found = await runSeeds(copy.directory, schedules - keptPlans.length + 1, stepSeeds, 1, events);
      schedules += found.schedules;
      if (kept > 0 || schedules >= mostSeeds || until(found)) return { found, kept, schedules };
    }
  } finally {
    copy.remove();
  }
}

/** Several changes, as one. */
export function together(...all: Edits[]): Edits {
  const merged: Edits = {};
  for (const edits of all)
    for (const [file, list] of Object.entries(edits)) merged[file] = [...(merged[file] ?? []), ...list];
  return merged;
}
