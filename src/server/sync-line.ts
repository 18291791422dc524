/** The line of sessions before the places: who waits is told so, and leaves when its socket closes. */
import { SandpiperError } from "../errors.ts";
import type { PrimaryMessage } from "../sync/protocol/messages.ts";
import type { Channel } from "../sync/transport/channel.ts";
import { FairLine } from "./http/fair-line.ts";

/** How often a waiting partner hears how many are before it. */
const tellSeconds = 5;

export class SyncLine {
  readonly #line: FairLine;

  constructor(places: number) {
    this.#line = new FairLine(
      { places },
      {
        full: "the primary is busy, and its line of waiting syncs is full",
        share: "too many syncs of yours are waiting",
        comeBackSeconds: 15,
      },
    );
  }

  /** @throws `unavailable` (503) when the line is full, `rate_limited` when it is full of this partner. */
  check(partner: string): void {
    this.#line.check(partner);
  }

  /** Waits for a place. @returns what gives it back. @throws when the peer hangs up first, or the line is dissolved. */
  async enter(channel: Channel, partner: string): Promise<() => void> {
    const hungUp = new AbortController();
    void channel.closed.then(() => hungUp.abort(new SandpiperError("network", "the partner hung up while it waited")));
    let timer: NodeJS.Timeout | undefined;
    const tell = (ahead: number) => {
      const message: PrimaryMessage = { type: "queued", ahead, retry_after: tellSeconds };
      channel.send(JSON.stringify(message)).catch(() => {}); // it has hung up, which is noticed above
    };
    try {
      return await this.#line.enter(partner, hungUp.signal, (ahead) => {
        tell(ahead());
        timer = setInterval(() => tell(ahead()), tellSeconds * 1000);
      });
    } finally {
      clearInterval(timer);
    }
  }

  /** Sends all away that wait: the server is stopping. */
  dissolve(): void {
    this.#line.dissolve();
  }
}
