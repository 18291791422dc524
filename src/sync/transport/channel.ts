/**
 * A websocket as a channel: messages and frames in order, with back-pressure both ways, heartbeats and limits.
 * It wraps a socket of `ws`, whichever end made it (server/upgrade.ts, connect.ts).
 */
import { WebSocket } from "ws";
import { type ErrorCode, SandpiperError } from "../../errors.ts";
import { maxFrameBytes } from "../protocol/frames.ts";
import type { Incoming } from "../protocol/messages.ts";

const heartbeatMs = 15_000;
/** What may lie in memory for a peer in each direction before it is made to wait. */
const windowBytes = 512 * 1024;
/** What a message costs besides its bytes, on either side of us: 370 bytes were measured for one that came, 630 for one that waits to be sent. */
const messageOverhead = 640;

/**
 * Settings of every websocket, on both sides. Compression would be a bomb, and payloads are compressed already.
 *
 * @param largestMessage bytes of the largest message that may come at any time (limits.ts). It is only the outer bound: each
 * is held to what is due when it is taken.
 */
export const socketOptions = (largestMessage: number) => ({
  perMessageDeflate: false,
  maxPayload: Math.max(largestMessage, maxFrameBytes),
  maxFragments: 16,
  // A message may come in many packets, but not byte by byte, each of which costs hundreds.
  maxBufferedChunks: 16 * 1024,
  // A peer that pings and does not read is cut off.
  maxPendingAutoPongs: 60,
});

export interface ChannelOptions {
  /** A peer that is silent for this long, pings included, is given up. */
  idleMs: number;
  /** Who is at the other end, for messages: "the primary". */
  peer: string;
}

interface Waiter {
  resolve(incoming: Incoming): void;
  reject(error: Error): void;
}

/** What the sessions need of a channel. */
export type Wire = Pick<Channel, "receive" | "send" | "close">;

export class Channel {
  readonly #socket: WebSocket;
  readonly #options: ChannelOptions;
  readonly #queue: Incoming[] = [];
  readonly #timer: NodeJS.Timeout;
  /** What they cost. */
  #queuedCost = 0;
  /** Messages that are sent, and not taken by the system yet. */
  #unsentMessages = 0;
  #blocked = false;
  #waiter: Waiter | undefined;
  #failure: SandpiperError | undefined;
  #lastHeardMs = performance.now();
  #closed: () => void = () => {};
  /** Resolves when the socket is closed, however that came. */
  readonly closed = new Promise<void>((resolve) => {
    this.#closed = resolve;
  });

  constructor(socket: WebSocket, options: ChannelOptions) {
    this.#socket = socket;
    this.#options = options;
    const alive = () => {
      this.#lastHeardMs = performance.now();
    };
    socket.on("message", (data: Buffer, isBinary: boolean) => {
      alive();
      this.#take(data, isBinary);
    });
    socket.on("ping", alive);
    socket.on("pong", alive);
    socket.on("error", (error) =>
      this.#fail(
        new SandpiperError(frameError(error) ? "protocol" : "network", `${options.peer}: ${error.message}`, {
          cause: error,
          hint: "Run again; if that does not help, ask the partner to look at its server.",
        }),
      ),
    );
    socket.on("close", (code, reason) => {
      this.#fail(closeError(options.peer, code, reason.toString("utf8")));
      clearInterval(this.#timer);
      this.#closed();
    });
    this.#timer = setInterval(() => this.#beat(), Math.min(heartbeatMs, options.idleMs / 2));
    this.#timer.unref();
  }

  /**
   * The next message or frame. @throws what ended the connection ({@link closeError}; `protocol` for what is no websocket frame, `network`
   * when it broke), `timeout` when nothing comes for `withinMs`.
   */
  receive(withinMs: number): Promise<Incoming> {
    const queued = this.#queue.shift();
    if (queued !== undefined) {
      this.#queuedCost -= cost(queued);
      if (this.#queuedCost < windowBytes / 2 && this.#socket.isPaused) this.#socket.resume();
      return Promise.resolve(queued);
    }
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#fail(timedOut(this.#options.peer, withinMs)), withinMs);
      this.#waiter = {
        resolve: (incoming) => {
          clearTimeout(timer);
          resolve(incoming);
        },
        reject: (error) => {
          clearTimeout(timer);
          reject(error);
        },
      };
    });
  }

  /** Sends a message or frame; waits while the peer is behind. @throws as {@link receive}, or `timeout` when the peer takes nothing. */
  async send(data: string | Buffer): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    this.#unsentMessages++;
    const sent = new Promise<void>((resolve, reject) => {
      this.#socket.send(data, (error) => {
        this.#unsentMessages--;
        if (error) reject(this.#failure ?? lost(this.#options.peer, error));
        else resolve();
      });
    });
    if (this.#socket.bufferedAmount + this.#unsentMessages * messageOverhead <= windowBytes) {
      sent.catch(() => {});
      return;
    }
    this.#blocked = true;
    let timer: NodeJS.Timeout | undefined;
    const stuck = new Promise<never>((_resolve, reject) => {
      let unsent = this.#unsent;
      let movedMs = performance.now();
      timer = setInterval(() => {
        // Our own pings add to it.
        if (this.#unsent < unsent) movedMs = performance.now();
        unsent = this.#unsent;
        if (performance.now() - movedMs < this.#options.idleMs) return;
        this.#fail(takesNothing(this.#options.peer, this.#options.idleMs));
        reject(this.#failure);
      }, this.#options.idleMs / 10);
    });
    try {
      await Promise.race([sent, stuck]);
    } finally {
      clearInterval(timer);
      this.#blocked = false;
    }
  }

  /** Whether a message waits because the peer is behind. */
  get blocked(): boolean {
    return this.#blocked;
  }

  /** Falls as the peer takes what was sent, however slowly: ws counts whole writes, the system what is left of the one under way. */
  get #unsent(): number {
    const { _socket } = this.#socket as unknown as { _socket?: { _handle?: { writeQueueSize?: number } | null } };
    return this.#socket.bufferedAmount + (_socket?._handle?.writeQueueSize ?? 0);
  }

  /** Closes with a code and a short reason, and waits until it is closed. */
  async close(code: number, reason = ""): Promise<void> {
    this.#failure ??= new SandpiperError("network", "the channel is closed");
    this.#socket.resume();
    this.#socket.close(code, reason);
    // A peer that is behind would not read the code for long.
    const timer = setTimeout(() => this.#socket.terminate(), this.#blocked ? 500 : 2000);
    await this.closed;
    clearTimeout(timer);
  }

  #take(data: Buffer, isBinary: boolean): void {
    if (this.#waiter !== undefined) {
      const waiter = this.#waiter;
      this.#waiter = undefined;
      waiter.resolve(isBinary ? { binary: data } : { text: data });
      return;
    }
    const kept = apart(data);
    const incoming = isBinary ? { binary: kept } : { text: kept };
    this.#queue.push(incoming);
    this.#queuedCost += cost(incoming);
    if (this.#queuedCost > windowBytes) this.#socket.pause();
  }

  #beat(): void {
    // While we hold the peer back ourselves, its pings wait in the same line.
    if (this.#socket.isPaused) this.#lastHeardMs = performance.now();
    if (performance.now() - this.#lastHeardMs > this.#options.idleMs) {
      this.#fail(timedOut(this.#options.peer, this.#options.idleMs));
      return;
    }
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.ping();
  }

  #fail(error: SandpiperError): void {
    this.#failure ??= error;
    this.#waiter?.reject(this.#failure);
    this.#waiter = undefined;
    // Once it is open, whoever uses the channel closes it, and so says why to a peer that may still hear.
    if (this.#socket.readyState === WebSocket.CONNECTING) this.#socket.terminate();
  }
}

/** What a message that waits costs in memory. */
const cost = (incoming: Incoming): number =>
  messageOverhead + ("text" in incoming ? incoming.text.length : incoming.binary.length);

/** The bytes in memory of their own, if they are a small part of what was read from the socket at once, which would be kept with them. */
function apart(data: Buffer): Buffer {
  if (data.length === 0 || data.length * 2 > data.buffer.byteLength) return data;
  const own = Buffer.allocUnsafeSlow(data.length);
  data.copy(own);
  return own;
}

/** The connection broke. */
export const lost = (peer: string, cause: unknown) =>
  new SandpiperError("network", `the connection to ${peer} was lost`, {
    cause,
    hint: "Run again: whatever was not applied is unchanged.",
  });

/** The peer is silent. */
export const timedOut = (peer: string, ms: number) =>
  new SandpiperError("timeout", `${peer} said nothing for ${Math.round(ms / 1000)} seconds`, {
    hint: "Run again; if that does not help, ask the partner to look at its server.",
  });

const takesNothing = (peer: string, ms: number) =>
  new SandpiperError("timeout", `${peer} accepted nothing for ${Math.round(ms / 1000)} seconds`, {
    hint: "Run again; if that does not help, ask the partner to look at its server.",
  });

/** Whether ws refused what the peer sent, rather than lost it. */
const frameError = (error: Error) => ((error as { code?: string }).code ?? "").startsWith("WS_ERR_");

const closeCodes: Record<number, ErrorCode> = {
  1002: "protocol",
  1003: "protocol",
  1007: "protocol",
  1008: "protocol",
  1009: "protocol",
  4400: "protocol",
  4401: "auth",
  4403: "forbidden",
  4408: "timeout",
  4409: "rate_limited",
  4429: "rate_limited",
};

/** What a close code of the peer means. */
export function closeError(peer: string, code: number, reason: string): SandpiperError {
  const said = reason === "" ? "" : `: ${reason.replace(/[^ -~]/g, "?").slice(0, 120)}`;
  return new SandpiperError(closeCodes[code] ?? "network", `${peer} closed the connection (${code}${said})`, {
    hint:
      closeCodes[code] === "protocol"
        ? "Both sides should run current versions of sandpiper."
        : "Run again: whatever was not applied is unchanged.",
  });
}
