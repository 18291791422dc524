/** A line in front of a few places. A request leaves it when its client is gone; when the line is full, a new one is told when to come back. */
import { SandpiperError } from "../../errors.ts";
import { RequestError } from "./problem.ts";
import { FairQueue, type QueueLimits, type Ticket } from "./rules/fair-queue.ts";

interface Waiting extends Ticket {
  begin(): void;
  giveUp(reason: unknown): void;
}

export interface LineWords {
  /** What is said when the line is full, and when it is full of the same one. */
  full: string;
  share: string;
  /** When whoever is sent away may come again. */
  comeBackSeconds: number;
}

export class FairLine {
  readonly #queue: FairQueue<Waiting>;
  readonly #waiting = new Set<Waiting>();
  readonly #words: LineWords;

  constructor(limits: QueueLimits, words: LineWords) {
    this.#queue = new FairQueue(limits);
    this.#words = words;
  }

  /** @throws `unavailable` (503) when the line is full, `rate_limited` (429) when it is full of this one. */
  check(who: string): void {
    const refusal = this.#queue.refusal(who);
    if (refusal === undefined) return;
    const { full, share, comeBackSeconds } = this.#words;
    const [status, code, message] =
      refusal === "full" ? ([503, "unavailable", full] as const) : ([429, "rate_limited", share] as const);
    throw new RequestError(status, code, message, {
      hint: `Come back in ${comeBackSeconds} seconds.`,
      headers: { "retry-after": String(comeBackSeconds) },
    });
  }

  /**
   * Waits for a place. @returns what gives it back; twice is harmless. @throws the reason of `signal` when that comes first, or `terminated`
   * when the line is dissolved.
   *
   * @param waits is called when there is no place at once, with what tells how many are before.
   */
  async enter(who: string, signal?: AbortSignal, waits?: (ahead: () => number) => void): Promise<() => void> {
    signal?.throwIfAborted();
    let waiting: Waiting | undefined;
    const turn = new Promise<void>((begin, giveUp) => {
      waiting = { who, begin, giveUp };
    });
    const ticket = waiting!;
    const leave = () => {
      this.#waiting.delete(ticket);
      this.#queue.leave(ticket);
      this.#admit();
    };
    this.#waiting.add(ticket);
    this.#queue.enter(ticket);
    this.#admit();
    if (!this.#waiting.has(ticket)) return leave;
    const hungUp = () => ticket.giveUp(signal!.reason);
    signal?.addEventListener("abort", hungUp, { once: true });
    waits?.(() => this.#queue.ahead(ticket));
    try {
      await turn;
    } catch (error) {
      leave();
      throw error;
    } finally {
      signal?.removeEventListener("abort", hungUp);
    }
    return leave;
  }

  /** Does the work in a place. @throws as {@link check} and {@link enter}. */
  async use<T>(who: string, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    this.check(who);
    const leave = await this.enter(who, signal);
    try {
      return await work();
    } finally {
      leave();
    }
  }

  /** Sends all away that wait: the server is stopping. */
  dissolve(): void {
    for (const ticket of this.#waiting) ticket.giveUp(new SandpiperError("terminated", "the server is stopping"));
  }

  #admit(): void {
    for (const ticket of this.#queue.admit()) {
      this.#waiting.delete(ticket);
      ticket.begin();
    }
  }
}
