/** A primary whose few bytes unfold to as many as it likes: payloads of zeros, long keys, compressed to next to nothing on the wire. */
import { randomUUID } from "node:crypto";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { WebSocket, WebSocketServer } from "ws";
import { mintApiKey } from "../../src/companies/api-key.ts";
import { uuidBytes } from "../../src/ids.ts";
import { protocolVersion, subprotocol } from "../../src/sync/protocol/messages.ts";
import { packed, squeezed } from "../faults/evil/primary-script.ts";
import { encodeTuple, int8 } from "../harness/tuples.ts";

/** What it says that a slice holds, and what it does when it is asked for. */
export interface UnfoldingSlice {
  name: string;
  grains: number;
  /** Of each grain: at most 1 MiB. */
  payloadBytes: number;
  /** Of each grain's key; 20 unless said otherwise. */
  keyBytes?: number;
  /** Of key and value in the slice's metadata; none unless said otherwise. */
  metadataBytes?: number;
  /** Grains that it sends before it refuses to go on; all but one unless said otherwise. */
  sends?: number;
}

const hash = "0123456789abcdef";

/** A number as the id of a grain, and as that of a slice. */
const idOf = (n: number, kind: string) => `00000000-0000-4000-${kind}-${String(n).padStart(12, "0")}`;

export class UnfoldingPrimary {
  readonly id = randomUUID();
  readonly apiKey = mintApiKey(randomUUID(), Buffer.alloc(32)).apiKey;
  /** Bytes of frames that it has sent. */
  sentBytes = 0;
  /** Names of slices that it was asked for, in order. */
  readonly asked: string[] = [];
  readonly #server: Server;

  private constructor(
    private readonly companyId: string,
    public slices: readonly UnfoldingSlice[],
  ) {
    this.#server = createServer((request, response) => {
      request.resume();
      const body =
        request.url === "/v1/login" ? { token: "t", server_id: this.id, company_id: companyId } : this.#subscriptions();
      response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(body));
    });
    const sockets = new WebSocketServer({ server: this.#server, handleProtocols: () => subprotocol });
    sockets.on("connection", (socket) => this.#serve(socket));
  }

  /** Starts one. @param companyId of the secondary. */
  static async start(
    test: { teardown(work: () => Promise<void>): unknown },
    companyId: string,
    slices: readonly UnfoldingSlice[],
  ): Promise<UnfoldingPrimary> {
    const primary = new UnfoldingPrimary(companyId, slices);
    await new Promise<void>((resolve) => primary.#server.listen(0, "127.0.0.1", resolve));
    test.teardown(async () => {
      primary.#server.closeAllConnections();
      primary.#server.close();
    });
    return primary;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  #subscriptions(): object[] {
    return this.slices.map(({ name }, n) => ({
      id: idOf(n, "b000"),
      company_id: this.companyId,
      name,
      active: true,
      slice: { id: idOf(n, "a000"), slice_name: name, slice_type: "aces-items" },
    }));
  }

  #serve(socket: WebSocket): void {
    const say = (message: object) => socket.send(JSON.stringify(message));
    socket.on("error", () => {});
    socket.on("message", (data: Buffer) => {
      const message = JSON.parse(data.toString());
      const n = Number(message.id?.slice(-12));
      const slice = this.slices[n];
      if (message.type === "compare")
        say({
          type: "compared",
          slices: (message.ids as string[]).map((id) => {
            const { grains, payloadBytes } = this.slices[Number(id.slice(-12))]!;
            return { id, state: "differs", hash, count: grains, bytes: grains * payloadBytes };
          }),
        });
      else if (message.type === "reconcile") say(this.#content(message.id, slice!));
      else if (message.type === "confirm") say({ type: "confirmed", id: message.id, run_id: message.run_id });
      else if (message.type === "fetch") {
        this.asked.push(slice!.name);
        void this.#unfold(socket, message.id, slice!, message.after === null ? 0 : Number(message.after.slice(-12)));
      } else if (message.type === "bye") socket.close(1000);
    });
    say({
      type: "begin",
      protocol: protocolVersion,
      server_id: this.id,
      company_id: this.companyId,
      limits: { frame_bytes: 2 ** 20, slices: 1000 },
      capabilities: ["brotli"],
    });
  }

  #content(id: string, { grains, payloadBytes, metadataBytes = 0 }: UnfoldingSlice): object {
    const metadata = Array.from({ length: Math.ceil(metadataBytes / 10_000) }, (_, i) => [
      String(i).padStart(6, "0"),
      "m".repeat(9_994),
    ]);
    return { type: "content", id, hash, count: grains, bytes: grains * payloadBytes, metadata };
  }

  async #unfold(socket: WebSocket, id: string, slice: UnfoldingSlice, after: number): Promise<void> {
    const { grains, payloadBytes, keyBytes = 20, sends = grains - 1 } = slice;
    const perFrame = Math.max(1, Math.floor(2 ** 20 / (payloadBytes + keyBytes + 60)));
    for (let n = after, sequence = 0; n < sends; sequence++) {
      const records: Buffer[] = [];
      for (const end = Math.min(sends, n + perFrame); n < end; n++)
        records.push(
          encodeTuple([
            uuidBytes(idOf(n + 1, "c000")),
            Buffer.from(String(n).padStart(keyBytes, "k")),
            Buffer.alloc(0),
            Buffer.from("raw"),
            int8(payloadBytes),
            Buffer.alloc(payloadBytes),
          ]),
        );
      const body = Buffer.concat(records);
      const frame = packed({ type: "grains", sequence, entries: records.length, body }, squeezed(body), body.length);
      if (socket.readyState !== WebSocket.OPEN) return;
      this.sentBytes += frame.length;
      await new Promise<void>((resolve) => socket.send(frame, () => resolve()));
    }
    socket.send(JSON.stringify({ type: "refused", id, reason: "failed" }));
  }
}
