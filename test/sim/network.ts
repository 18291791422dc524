/** A simulated network: websockets that carry the bytes of the real codec in order, with latency, and all that can happen to a connection. */
import { SandpiperError } from "../../src/errors.ts";
import type { Incoming } from "../../src/sync/protocol/messages.ts";
import { closeError, lost, timedOut, type Wire } from "../../src/sync/transport/channel.ts";
import type { Random } from "../harness/random.ts";
import type { Clock } from "./clock.ts";

/** What may be on its way in one direction before the sender waits. */
export const windowBytes = 1200;
/** A peer that is silent for so long is given up. */
const idleMs = 20_000;

/** What happens in the network, told to whoever watches. */
export interface Watcher {
  event(name: string): void;
  /** What an end sends, before anybody has changed it. */
  sent(data: string | Buffer): void;
  /** Bytes that wait in one direction of a connection. */
  buffered(bytes: number, largest: number): void;
}

const sizeOf = (data: string | Buffer): number => (typeof data === "string" ? Buffer.byteLength(data) : data.length);

const never = <T>() => new Promise<T>(() => {});

type Sent = { data: string | Buffer } | { close: number; reason: string };

/** One end of a websocket. */
export class End implements Wire {
  peer!: End;
  /** Changes what this end sends: a hostile peer. */
  tamper: (data: string | Buffer) => (string | Buffer)[] = (data) => [data];
  readonly #queue: Incoming[] = [];
  #waiter: { resolve: (incoming: Incoming) => void; reject: (error: Error) => void; stop: () => void } | undefined;
  #failure: SandpiperError | undefined;
  #buffered = 0;
  #largest = 0;
  #blocked: (() => void)[] = [];
  #dead = false;
  #lastArrivalMs = 0;
  #closed: () => void = () => {};
  /** Resolves when nothing more comes or goes at this end. */
  readonly gone = new Promise<void>((resolve) => {
    this.#closed = resolve;
  });

  constructor(
    readonly connection: Connection,
    /** What this end calls the other. */
    readonly other: string,
  ) {}

  receive(withinMs: number): Promise<Incoming> {
    if (this.#dead) return never();
    const queued = this.#queue.shift();
    if (queued !== undefined) {
      this.peer.#taken("text" in queued ? queued.text.length : queued.binary.length);
      return Promise.resolve(queued);
    }
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    return new Promise((resolve, reject) => {
      const stop = this.connection.clock.after(withinMs, () => {
        this.connection.watcher.event("an answer is waited for in vain");
        this.fail(timedOut(this.other, withinMs));
      });
      this.#waiter = { resolve, reject, stop };
    });
  }

  async send(data: string | Buffer): Promise<void> {
    if (this.#dead) return never();
    if (this.#failure !== undefined) throw this.#failure;
    this.connection.watcher.sent(data);
    for (const piece of this.tamper(data)) {
      this.#buffered += sizeOf(piece);
      this.#largest = Math.max(this.#largest, sizeOf(piece));
      this.connection.watcher.buffered(this.#buffered, this.#largest);
      this.#carry({ data: piece });
    }
    if (this.#buffered > windowBytes) {
      this.connection.watcher.event("a sender waits for its peer");
      await new Promise<void>((resolve) => this.#blocked.push(resolve));
      if (this.#dead) return never();
      if (this.#failure !== undefined) throw this.#failure;
    }
  }

  async close(code: number, reason = ""): Promise<void> {
    if (this.#dead) return never();
    this.#failure ??= new SandpiperError("network", "the channel is closed");
    this.#carry({ close: code, reason });
    this.end();
  }

  /** The connection ends for this side, which hears of it. */
  fail(error: SandpiperError): void {
    this.#failure ??= error;
    const waiter = this.#waiter;
    this.#waiter = undefined;
    waiter?.stop();
    if (waiter !== undefined && !this.#dead) waiter.reject(this.#failure);
    this.#wake();
  }

  /** Nothing more comes or goes at this end. */
  end(): void {
    this.fail(new SandpiperError("network", "the channel is closed"));
    this.#closed();
    this.connection.left(this);
  }

  /** Its process has died. */
  kill(): void {
    if (this.#dead) return;
    this.#dead = true;
    this.#waiter?.stop();
    this.#waiter = undefined;
    this.#closed();
    this.connection.left(this);
    this.#carry({ close: 1006, reason: "" });
  }

  /** The network has lost the connection: this end is told so. */
  cut(): void {
    if (this.#dead) return;
    this.fail(lost(this.other, undefined));
    this.end();
  }

  #taken(bytes: number): void {
    this.#buffered -= bytes;
    if (this.#buffered <= windowBytes / 2) this.#wake();
  }

  #wake(): void {
    const blocked = this.#blocked;
    this.#blocked = [];
    for (const resolve of blocked) resolve();
  }

  /** Brings something to the other end, in order. */
  #carry(sent: Sent): void {
    const { clock, random, meanMs } = this.connection;
    const size = "data" in sent ? sent.data.length : 0;
    const arrival = clock.nowMs - Math.log(1 - random.next()) * meanMs + size / 2000;
    this.#lastArrivalMs = Math.max(this.#lastArrivalMs, arrival);
    clock.after(this.#lastArrivalMs - clock.nowMs, () => this.connection.whenOpen(() => this.peer.#take(sent)));
  }

  #take(sent: Sent): void {
    if (this.#dead || this.connection.broken) return;
    if ("close" in sent) {
      this.fail(closeError(this.other, sent.close, sent.reason));
      this.end();
      return;
    }
    const { data } = sent;
    const incoming: Incoming = typeof data === "string" ? { text: Buffer.from(data) } : { binary: data };
    const waiter = this.#waiter;
    if (waiter === undefined) {
      this.#queue.push(incoming);
      return;
    }
    this.#waiter = undefined;
    waiter.stop();
    this.peer.#taken(sizeOf(data));
    waiter.resolve(incoming);
  }
}

/** One websocket, and what happens to it. */
export class Connection {
  readonly secondary: End;
  readonly primary: End;
  broken = false;
  #held: (() => void)[] | undefined;
  readonly #open: Set<End>;

  constructor(
    readonly clock: Clock,
    readonly random: Random,
    readonly meanMs: number,
    readonly watcher: Watcher,
    private readonly onEnd: (connection: Connection) => void,
  ) {
    this.secondary = new End(this, "the primary");
    this.primary = new End(this, "the secondary");
    this.secondary.peer = this.primary;
    this.primary.peer = this.secondary;
    this.#open = new Set([this.secondary, this.primary]);
  }

  /** Everything on its way is lost, and both ends hear of it. */
  cut(): void {
    if (this.broken) return;
    this.broken = true;
    for (const end of [this.secondary, this.primary]) this.clock.after(this.random.next() * 20, () => end.cut());
  }

  /** Nothing passes for a while; if it is long, the ends give each other up. */
  stall(ms: number): void {
    if (this.#held !== undefined || this.broken) return;
    this.#held = [];
    if (ms < idleMs) {
      this.clock.after(ms, () => {
        const held = this.#held ?? [];
        this.#held = undefined;
        for (const work of held) work();
      });
      return;
    }
    for (const end of [this.secondary, this.primary])
      this.clock.after(idleMs * (1 + this.random.next() / 2), () => {
        if (this.broken) return;
        this.watcher.event("a dead connection is noticed");
        end.fail(timedOut(end.other, idleMs));
        end.end();
      });
  }

  whenOpen(work: () => void): void {
    if (this.#held === undefined) work();
    else this.#held.push(work);
  }

  /** One end is gone; when both are, the connection is forgotten. */
  left(end: End): void {
    this.#open.delete(end);
    if (this.#open.size === 0) this.onEnd(this);
  }
}
