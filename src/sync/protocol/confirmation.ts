/** What the primary is told about a slice when it is done with. Pure. */
import type { Confirm } from "./messages.ts";
import type { SecondaryFacts, SliceResult } from "./secondary-port.ts";

/** What the primary is told about a slice. */
export function confirmation(facts: SecondaryFacts, done: SliceResult, durationMs: number): Confirm {
  return {
    type: "confirm",
    run_id: facts.runId,
    id: done.slice.id,
    test: facts.options.rehearsal,
    outcome: done.outcome === "unchanged" ? "updated" : done.outcome,
    hash: done.slice.hash,
    count: done.slice.count,
    added: sayable(done.added),
    removed: sayable(done.removed),
    bytes: sayable(done.bytes),
    duration_ms: sayable(Math.max(0, Math.round(durationMs))),
    // The primary learns what kind of failure it was; our own messages stay here.
    message: done.error?.code ?? "",
  };
}

/** The largest number that a message may hold in place of a larger one: what cannot be said would be tried again for ever. */
const sayable = (number: number): number => Math.min(number, Number.MAX_SAFE_INTEGER);
