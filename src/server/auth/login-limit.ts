/** Slows down guessing. Counted per process, and may be lost: the limits protect, but nothing depends on them. */
import { RateLimiterMemory, type RateLimiterRes } from "rate-limiter-flexible";
import { RequestError } from "../http/problem.ts";

const windowSeconds = 60;
const maxFailuresOfPair = 10;
const maxFailuresOfAddress = 30;
/** So many pairs are remembered, those that logged in last. */
const maxKnown = 10_000;

/** Who tries to log in: the name of a person or the id of a key, and the address that it comes from. */
export interface Attempt {
  name: string;
  address: string;
}

/**
 * Failed logins in a minute: ten of one name from one address, and thirty of all names from one address. Never of a name alone, lest anybody
 * lock out somebody else by guessing under that name elsewhere. Behind one address may be an office, with one who guesses in it: the limit
 * of the address is not for names that have logged in from there before, and not for keys, which cannot be guessed.
 */
export class LoginLimit {
  readonly #ofPair = new RateLimiterMemory({ points: maxFailuresOfPair, duration: windowSeconds });
  readonly #ofAddress = new RateLimiterMemory({ points: maxFailuresOfAddress, duration: windowSeconds });
  readonly #known = new Set<string>();

  constructor(private readonly what: "people" | "keys") {}

  /** Whether this name has logged in from this address. */
  knows(attempt: Attempt): boolean {
    return this.#known.has(pair(attempt));
  }

  /** @throws `rate_limited` after too many failures, even for the right credentials. */
  async check(attempt: Attempt): Promise<void> {
    refuse(await this.#ofPair.get(pair(attempt)), maxFailuresOfPair);
    if (this.what === "people" && !this.knows(attempt)) await this.#checkAddress(attempt);
  }

  /** Whether so much has failed from this address that what fails further is answered late. */
  async slows({ address }: Pick<Attempt, "address">): Promise<boolean> {
    return ((await this.#ofAddress.get(address))?.consumedPoints ?? 0) >= maxFailuresOfAddress;
  }

  /** @throws `rate_limited` where any other name would have been refused, lest anybody see by the answer which names are known here. */
  async failed(attempt: Attempt): Promise<void> {
    await this.#ofPair.penalty(pair(attempt));
    try {
      if (this.what === "people") await this.#checkAddress(attempt);
    } finally {
      await this.#ofAddress.penalty(attempt.address);
    }
  }

  succeeded(attempt: Attempt): void {
    this.#known.delete(pair(attempt)); // so that it comes to the end
    this.#known.add(pair(attempt));
    if (this.#known.size > maxKnown) this.#known.delete(this.#known.values().next().value!);
  }

  async #checkAddress({ address }: Attempt): Promise<void> {
    refuse(await this.#ofAddress.get(address), maxFailuresOfAddress);
  }
}

const pair = ({ name, address }: Attempt): string => `${address} ${name}`;

function refuse(spent: RateLimiterRes | null, most: number): void {
  if (spent === null || spent.consumedPoints < most) return;
  const seconds = Math.max(1, Math.ceil(spent.msBeforeNext / 1000));
  throw new RequestError(429, "rate_limited", "too many failed logins", {
    hint: `Wait ${seconds} seconds.`,
    headers: { "retry-after": String(seconds) },
  });
}
