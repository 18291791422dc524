/** A clock on every answer: a client that reads nothing of it is cut off, one that reads slowly is served to the end. */
import type { ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { SandpiperError } from "../../errors.ts";

interface Watched {
  /** What had left us, and when that last changed. */
  taken: string;
  movedMs: number;
}

export class AnswerClock {
  readonly #answers = new Map<ServerResponse, Watched>();
  readonly #timer: NodeJS.Timeout;
  readonly #idleMs: number;

  /** @param idleMs how long a client may take nothing while there is something for it. */
  constructor(idleMs: number) {
    this.#idleMs = idleMs;
    this.#timer = setInterval(() => this.#look(), Math.min(1000, idleMs / 10));
    this.#timer.unref();
  }

  watch(response: ServerResponse): void {
    this.#answers.set(response, { taken: "", movedMs: performance.now() });
    response.once("close", () => this.#answers.delete(response));
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #look(): void {
    for (const [response, watched] of this.#answers) {
      const taken = progress(response);
      if (taken !== watched.taken) {
        watched.taken = taken;
        watched.movedMs = performance.now();
      } else if (performance.now() - watched.movedMs >= this.#idleMs) {
        const { locals } = response as ServerResponse & { locals?: { error?: unknown } };
        if (locals !== undefined) locals.error = unread(); // for the log line of its request
        response.destroy();
      }
    }
  }
}

/**
 * Changes whenever the client takes something, and all the time while there is nothing for it: what we have written, and what of that the
 * system has not taken from us yet, which falls in small steps where our own buffers know whole writes only.
 */
function progress(response: ServerResponse): string {
  const handle = (response.socket as (Socket & { _handle?: { writeQueueSize?: number } | null }) | null)?._handle;
  const queued = handle?.writeQueueSize ?? 0;
  if (response.writableLength + queued === 0) return `idle ${performance.now()}`;
  return `${response.socket?.bytesWritten} ${response.writableLength} ${queued}`;
}

const unread = () => new SandpiperError("network", "the client does not read its answer");
