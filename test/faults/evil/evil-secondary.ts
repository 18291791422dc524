/** A secondary that lies: a websocket of its own to an honest primary, whatever is sent, and every byte that came back. */
import type { Duplex } from "node:stream";
import { WebSocket } from "ws";
import { subprotocol } from "../../../src/sync/protocol/messages.ts";
import type { SliceName } from "./world.ts";

/** What a partner knows of the primary's slices. */
export interface Knowledge {
  slices: Record<SliceName, { id: string; hash: string; count: number }>;
  /** A slice of another partner's, and a grain in it. */
  foreign: string;
  foreignGrain: string;
  /** The grain in chunks. */
  largeGrain: string;
  /** A grain of the slice `few`. */
  grain(n: number): string;
}

const runId = "00000000-0000-4000-8000-0000000000aa";

export class EvilSecondary {
  readonly heard: Buffer[] = [];
  readonly #messages: Record<string, unknown>[] = [];
  readonly #socket: WebSocket;
  /** Resolves with the close code. */
  readonly closed: Promise<number>;

  constructor(
    url: string,
    token: string,
    private readonly knows: Knowledge,
  ) {
    this.#socket = new WebSocket(`${url.replace("http", "ws")}/sync`, [subprotocol], {
      headers: { authorization: `Bearer ${token}` },
    });
    this.#socket.on("error", () => {});
    this.#socket.on("message", (data: Buffer, binary: boolean) => {
      this.heard.push(data);
      if (!binary) this.#messages.push(JSON.parse(data.toString()));
    });
    this.closed = new Promise((resolve) => this.#socket.once("close", resolve));
  }

  id = (name: SliceName) => this.knows.slices[name].id;
  hash = (name: SliceName) => this.knows.slices[name].hash;
  count = (name: SliceName) => this.knows.slices[name].count;
  grain = (n: number) => this.knows.grain(n);
  get foreign(): string {
    return this.knows.foreign;
  }
  get foreignGrain(): string {
    return this.knows.foreignGrain;
  }
  get largeGrain(): string {
    return this.knows.largeGrain;
  }

  send(what: object | string | Buffer): void {
    if (this.#socket.readyState !== WebSocket.OPEN) return;
    this.#socket.send(typeof what === "string" || Buffer.isBuffer(what) ? what : JSON.stringify(what));
  }

  /** Sends bytes below the websocket, one now and one each time that so much has passed. */
  async dribble(bytes: Buffer, everyMs: number): Promise<void> {
    const { _socket: wire } = this.#socket as unknown as { _socket: Duplex };
    for (const byte of bytes) {
      if (wire.destroyed) return;
      wire.write(Buffer.of(byte));
      await Promise.race([this.closed, new Promise((resolve) => setTimeout(resolve, everyMs))]);
    }
  }

  /** Waits for a message; for the end of the connection too, since a primary may refuse instead. */
  async hear(type: string, withinMs = 5000): Promise<Record<string, unknown>> {
    const deadline = performance.now() + withinMs;
    for (;;) {
      const found = this.#messages.find((message) => message.type === type);
      if (found !== undefined) return found;
      if (performance.now() > deadline || this.#socket.readyState >= WebSocket.CLOSING) return {};
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  }

  hangUp(): void {
    this.#socket.terminate();
  }

  comparison(ids: string[] = Object.values(this.knows.slices).map(({ id }) => id)) {
    const none = ids.map(() => "");
    return {
      type: "compare",
      run_id: runId,
      test: false,
      program: "evil",
      ids,
      hashes: none,
      counts: ids.map(() => 0),
    };
  }

  async compare(ids?: string[]): Promise<void> {
    await this.hear("begin");
    this.send(this.comparison(ids));
    await this.hear("compared");
  }

  reconcile(name: SliceName, want: string): void {
    this.send({ type: "reconcile", id: this.id(name), hash: this.hash(name), want });
  }

  fetching(name: SliceName, by: string, count: number) {
    return { type: "fetch", id: this.id(name), hash: this.hash(name), by, count, after: null };
  }

  fetch(name: SliceName, by: string, count: number): void {
    this.send(this.fetching(name, by, count));
  }

  confirmation(id: string) {
    const numbers = { count: 1, added: 1, removed: 0, bytes: 1, duration_ms: 1 };
    return {
      type: "confirm",
      run_id: runId,
      id,
      test: false,
      outcome: "updated",
      hash: "0123456789abcdef",
      ...numbers,
      message: "",
    };
  }

  /** A whole copy, as an honest one makes it. */
  async copy(name: SliceName): Promise<void> {
    await this.compare();
    this.reconcile(name, "content");
    await this.hear("content");
    this.fetch(name, "all", this.knows.slices[name].count);
    await this.hear("end");
  }
}
