/** What keeps guessing slow. Per process, and losable: the limits protect, nothing depends on them. */
import { RateLimiterMemory } from "rate-limiter-flexible";
import { RequestError } from "./problem.ts";

const maxFailures = 10;
const windowSeconds = 60;

/**
 * Failed logins of one name from one address: ten a minute. By both, so that nobody can lock out a partner by guessing under its
 * key id from elsewhere, nor a whole office by guessing from its address.
 */
export class LoginLimit {
  readonly #failures = new RateLimiterMemory({ points: maxFailures, duration: windowSeconds });

  /** @throws `rate_limited` after ten failures, even for the right credentials. */
  async check(who: string): Promise<void> {
    const spent = await this.#failures.get(who);
    if (spent === null || spent.consumedPoints < maxFailures) return;
    throw tooMany("too many failed logins", Math.ceil(spent.msBeforeNext / 1000));
  }

  async failed(who: string): Promise<void> {
    await this.#failures.penalty(who);
  }
}

/** A few at once, a few more in line, the rest refused: a password costs 20 MB and 10 ms of a core to check. */
export class Slots {
  #busy = 0;
  readonly #waiting: (() => void)[] = [];
  readonly #slots: number;
  readonly #maxWaiting: number;

  constructor(slots: number, maxWaiting: number) {
    this.#slots = slots;
    this.#maxWaiting = maxWaiting;
  }

  /** @throws `rate_limited` when the line is full. */
  async use<T>(work: () => Promise<T>): Promise<T> {
    if (this.#busy < this.#slots) this.#busy++;
    else if (this.#waiting.length < this.#maxWaiting) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    else throw tooMany("too many logins at once", 1);
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#busy--;
      else next(); // the slot passes on
    }
  }
}

const tooMany = (message: string, seconds: number) =>
  new RequestError(429, "rate_limited", message, {
    hint: `Wait ${seconds} seconds.`,
    headers: { "retry-after": String(seconds) },
  });
