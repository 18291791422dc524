/** A wire that is bad on purpose: a TCP proxy that delays, crumbles, stalls or cuts what passes, at an exact byte. */
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";

/** Who sends what is counted and cut. */
export type Side = "secondary" | "primary";

export interface Trouble {
  /** Comes after so many bytes of this side, over all connections since {@link BadWire.begin}. */
  from: Side;
  at: number;
  /**
   * `fin` and `rst` cut both ends; `stall` lets nothing more pass in either direction, `half-open` nothing more from this side
   * (so that it notices only what the other one does about it).
   */
  how: "fin" | "rst" | "stall" | "half-open";
}

interface Pair {
  secondary: Socket;
  primary: Socket;
}

export class BadWire {
  /** What has passed since {@link begin}. */
  passed: Record<Side, number> = { secondary: 0, primary: 0 };
  /** What had passed when each connection since {@link begin} was made. */
  begun: Record<Side, number>[] = [];
  /** Whether the trouble has come. */
  tripped = false;
  /** Writes are of so many bytes at most, and wait so long before. */
  pieceBytes = Number.POSITIVE_INFINITY;
  delayMs = 0;
  readonly #server: Server;
  readonly #pairs = new Set<Pair>();
  #trouble: Trouble | undefined;

  private constructor(private readonly target: URL) {
    this.#server = createServer({ noDelay: true }, (socket) => this.#accept(socket));
  }

  /** A wire to `url`; the other end is at {@link url}. */
  static async to(url: string): Promise<BadWire> {
    const wire = new BadWire(new URL(url));
    wire.#server.listen(0, "127.0.0.1");
    await once(wire.#server, "listening");
    return wire;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Counts anew, with this trouble to come. */
  begin(trouble?: Trouble): void {
    this.#drop();
    this.passed = { secondary: 0, primary: 0 };
    this.begun = [];
    this.#trouble = trouble;
    this.tripped = false;
  }

  async close(): Promise<void> {
    this.#server.close();
    this.#drop();
    await once(this.#server, "close");
  }

  #drop(): void {
    for (const { secondary, primary } of this.#pairs) {
      secondary.destroy();
      primary.destroy();
    }
  }

  #accept(secondary: Socket): void {
    const primary = connect({ port: Number(this.target.port), host: this.target.hostname, noDelay: true });
    const pair = { secondary, primary };
    this.begun.push({ ...this.passed });
    this.#pairs.add(pair);
    for (const socket of [secondary, primary]) {
      socket.on("error", () => {});
      socket.on("close", () => {
        if (secondary.closed && primary.closed) this.#pairs.delete(pair);
      });
    }
    void this.#carry(pair, "secondary");
    void this.#carry(pair, "primary");
  }

  async #carry(pair: Pair, from: Side): Promise<void> {
    const source = pair[from];
    const sink = pair[from === "secondary" ? "primary" : "secondary"];
    const due = () => this.#trouble?.from === from && !this.tripped && this.passed[from] >= this.#trouble.at;
    if (due()) this.#trip(pair);
    try {
      for await (const read of source as AsyncIterable<Buffer>) {
        for (let at = 0; at < read.length; ) {
          if (this.#silenced(from)) break;
          const left =
            this.#trouble?.from === from && !this.tripped ? this.#trouble.at - this.passed[from] : read.length;
          const piece = read.subarray(at, at + Math.min(this.pieceBytes, left));
          if (this.delayMs > 0) await new Promise((resolve) => setTimeout(resolve, this.delayMs));
          await new Promise<void>((resolve, reject) =>
            sink.write(piece, (error) => (error ? reject(error) : resolve())),
          );
          at += piece.length;
          this.passed[from] += piece.length;
          if (due()) this.#trip(pair);
        }
      }
      if (!this.#silenced(from)) sink.end();
    } catch {
      // One end is gone: the other learns of it in the same way.
      if (!this.#silenced(from)) sink.resetAndDestroy();
    }
  }

  #silenced(from: Side): boolean {
    if (!this.tripped || this.#trouble === undefined) return false;
    return this.#trouble.how === "stall" || (this.#trouble.how === "half-open" && this.#trouble.from === from);
  }

  #trip({ secondary, primary }: Pair): void {
    this.tripped = true;
    for (const socket of [secondary, primary]) {
      if (this.#trouble!.how === "fin") socket.end();
      if (this.#trouble!.how === "rst") socket.resetAndDestroy();
    }
  }
}
