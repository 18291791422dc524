/** The counters and switches of the guards (src/sync/protocol/guards.ts). */
import type { SandpiperError } from "../../../src/errors.ts";
import { type GuardName, watchGuards } from "../../../src/sync/protocol/guards.ts";

/**
 * Guards that are counted, and never switched off: the last lock, the hash of what is stored, recomputed before the commit; and the
 * one that gives a name to what a unique index has refused already (without it, the lock would be the same, and the error would have none).
 */
const alwaysOn: ReadonlySet<GuardName> = new Set<GuardName>(["apply.proof", "stage.two-keys"]);

interface Firing {
  guard: GuardName;
  error: SandpiperError;
}

export class Switches {
  /** How often each guard fired. */
  readonly fired = new Map<GuardName, number>();
  readonly #off = new Set<GuardName>();
  #now: Firing[] = [];

  constructor() {
    watchGuards((guard, error) => {
      if (this.#off.has(guard)) return false;
      this.fired.set(guard, (this.fired.get(guard) ?? 0) + 1);
      this.#now.push({ guard, error });
      return true;
    });
  }

  /** Guards that fired since this was asked last, in order. */
  take(): Firing[] {
    const now = this.#now;
    this.#now = [];
    return now;
  }

  /** Switches those off that fired. @returns whether there is one that was on; some stay. */
  switchOff(firings: readonly Firing[]): boolean {
    const before = this.#off.size;
    for (const { guard } of firings) if (!alwaysOn.has(guard)) this.#off.add(guard);
    return this.#off.size > before;
  }

  allOn(): void {
    this.#off.clear();
    this.#now = [];
  }

  get off(): readonly string[] {
    return [...this.#off];
  }
}
