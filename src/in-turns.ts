/** Long work on the one thread: others have their turn between its pieces. */
import { setImmediate as breathe } from "node:timers/promises";
import type { Pieces } from "./pieces.ts";

/** Does the work, piece by piece. */
export async function inTurns<T>(work: Pieces<T>): Promise<T> {
  for (;;) {
    const step = work.next();
    if (step.done) return step.value;
    await breathe();
  }
}
