/** Runs the simulation on a program that was changed, to see what it finds. */
import { checkKept, type Found, runSeeds } from "./ask.ts";
import { keptPlans } from "./kept.ts";
import { type Edits, smallLimits } from "./small-limits.ts";

/** Schedules that a fault has to be found in. */
const mostSeeds = 1000;
const stepSeeds = 250;

const none: Found = { schedules: 0, actions: 0, ms: 1, failed: [], missing: [], events: {} };

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
    const wrong = await checkKept(copy.directory).catch(() => ({ "the simulation died": ["died"] }));
    const kept = Object.values(wrong).filter((violations) => violations.length > 0).length;
    if (kept > 0) return { found: none, kept, schedules: keptPlans.length };
    for (;;) {
      const found = await runSeeds(copy.directory, schedules + 1, stepSeeds, 1, events);
      schedules += found.schedules;
      if (schedules >= mostSeeds || until(found)) return { found, kept, schedules };
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
