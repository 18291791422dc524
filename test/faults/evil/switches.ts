/** The counters and switches of the guards (guards.ts), in the program that has them planted. */
import type { SandpiperError } from "../../../src/errors.ts";
import { alwaysOn } from "./guards.ts";

interface Firing {
  guard: string;
  error: SandpiperError;
}

export class Switches {
  /** How often each guard fired. */
  readonly fired = new Map<string, number>();
  readonly #off = new Set<string>();
  #now: Firing[] = [];

  constructor() {
    Object.assign(globalThis, {
      sandpiperGuard: (guard: string, error: SandpiperError): SandpiperError | undefined => {
        if (this.#off.has(guard)) return undefined;
        this.fired.set(guard, (this.fired.get(guard) ?? 0) + 1);
        this.#now.push({ guard, error });
        return error;
      },
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
