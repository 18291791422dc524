/** The line of sessions before the places: who waits is told so, and leaves when its socket closes. */
import { SandpiperError } from "../errors.ts";
import type { Channel } from "../sync/channel.ts";
import type { PrimaryMessage } from "../sync/messages.ts";
import { RequestError } from "./problem.ts";
import { SyncQueue, type Ticket } from "./sync-queue.ts";

/** How often a waiting partner hears how many are before it. */
const tellSeconds = 5;
/** When a partner that found the line full may come again. */
const comeBackSeconds = 15;

interface Waiting extends Ticket {
  begin(): void;
  giveUp(error: SandpiperError): void;
}

export class SyncLine {
  readonly #queue: SyncQueue<Waiting>;
  readonly #waiting = new Set<Waiting>();

  constructor(places: number) {
    this.#queue = new SyncQueue(places);
  }

  /** @throws `unavailable` (503) when the line is full, `rate_limited` when it is full of this partner. */
  check(partner: string): void {
    const refusal = this.#queue.refusal(partner);
    if (refusal === undefined) return;
    const [status, code, message] =
      refusal === "full"
        ? ([503, "unavailable", "the primary is busy, and its line of waiting syncs is full"] as const)
        : ([429, "rate_limited", "too many syncs of yours are waiting"] as const);
    throw new RequestError(status, code, message, {
      hint: `Come back in ${comeBackSeconds} seconds.`,
      headers: { "retry-after": String(comeBackSeconds) },
    });
  }

  /** Waits for a place. @returns what gives it back. @throws when the peer hangs up first, or the line is dissolved. */
  async enter(channel: Channel, partner: string): Promise<() => void> {
    let waiting: Waiting | undefined;
    const turn = new Promise<void>((begin, giveUp) => {
      waiting = { partner, begin, giveUp };
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
    const tell = () => {
      const message: PrimaryMessage = {
        type: "queued",
        ahead: this.#queue.ahead(ticket),
        retry_after: tellSeconds,
      };
      channel.send(JSON.stringify(message)).catch(() => {}); // it has hung up, which is noticed below
    };
    tell();
    const timer = setInterval(tell, tellSeconds * 1000);
    void channel.closed.then(() => ticket.giveUp(new SandpiperError("network", "the partner hung up while it waited")));
    try {
      await turn;
    } catch (error) {
      leave();
      throw error;
    } finally {
      clearInterval(timer);
    }
    return leave;
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
