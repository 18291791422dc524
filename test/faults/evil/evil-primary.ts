/**
 * A primary that lies. Behind it stands an honest one, whose answers it passes on, or others in their place: what a script makes of
 * each. It puts frames together with the project's own codec, and checks nothing. Every grain goes in a frame of its own.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Duplex } from "node:stream";
import { WebSocket, WebSocketServer } from "ws";
import {
  encodeFrame,
  type Frame,
  type FrameType,
  frameTypes,
  headerBytes,
  readRecords,
} from "../../../src/sync/protocol/frames.ts";
import { subprotocol } from "../../../src/sync/protocol/messages.ts";

// biome-ignore lint/suspicious/noExplicitAny: whatever a script makes of it
export type Message = Record<string, any>;

/** What the honest primary says, on its way. */
export interface Passing {
  /** Of the message or of the frame. */
  type: string;
  /** Which of this type in the session, from 0. */
  n: number;
  message: Message;
  frame: Frame;
  /** The slice that it is about. */
  slice: string;
  /** The number of the frame that comes next. */
  next: number;
  /** Sends, behind what is sent now, as much as is taken, until the connection ends. */
  flood(make: (i: number) => Sent): void;
  /** Cuts the connection. */
  end(): void;
}

/** A message, a frame, or bytes or text as they are. */
export type Sent = Message | Frame | Buffer | string;

export interface Script {
  /** Whether it answers a request itself. */
  http?(request: IncomingMessage, response: ServerResponse): boolean;
  login?(body: Message): unknown;
  subs?(rows: Message[]): unknown;
  /** Nothing of the honest primary's is passed on: the websocket, and the socket below it. */
  takeOver?(socket: WebSocket, wire: Duplex): void;
  /** What is sent in place of what passes; one for each session. */
  session?(): (passing: Passing) => Sent[];
}

const typeNames: ReadonlyMap<number, FrameType> = new Map(
  Object.entries(frameTypes).map(([name, number]) => [number, name as FrameType]),
);

const bytesOf = (sent: Sent): Buffer | string => {
  if (typeof sent === "string" || Buffer.isBuffer(sent)) return sent;
  return Buffer.isBuffer(sent.body) ? encodeFrame(sent as Frame) : JSON.stringify(sent);
};

/** A frame as it came, those of grains cut into single records. */
function frames(bytes: Buffer): Frame[] {
  const frame: Frame = {
    type: typeNames.get(bytes.readUInt8(0))!,
    sequence: 0,
    entries: bytes.readUInt32BE(8),
    body: bytes.subarray(headerBytes),
  };
  if (frame.type !== "grains") return [frame];
  const single: Frame[] = [];
  // It is the same object every time.
  for (const { start, end } of readRecords(frame))
    single.push({ ...frame, entries: 1, body: frame.body.subarray(start, end) });
  return single;
}

export class EvilPrimary {
  script: Script = {};
  /** Sessions that were begun. */
  sessions = 0;
  readonly #server: Server;
  readonly #sockets = new WebSocketServer({
    noServer: true,
    handleProtocols: () => subprotocol,
    maxPayload: 2 ** 30,
    autoPong: false, // a pong among the bytes of a script would be what is wrong with them
  });

  private constructor(
    private readonly honestUrl: string,
    /** Who it says that it is, if not who the honest one is. */
    private readonly serverId: string | undefined,
  ) {
    this.#server = createServer((request, response) => {
      this.#pass(request, response).catch(() => response.destroy());
    });
    this.#server.on("upgrade", (request: IncomingMessage, wire: Duplex, head: Buffer) => {
      wire.on("error", () => {});
      this.#sockets.handleUpgrade(request, wire, head, (socket) => this.#serve(socket, wire, request));
    });
  }

  static async before(honestUrl: string, serverId?: string): Promise<EvilPrimary> {
    const evil = new EvilPrimary(honestUrl, serverId);
    await new Promise<void>((resolve) => evil.#server.listen(0, "127.0.0.1", resolve));
    return evil;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #pass(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (this.script.http?.(request, response)) return;
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part as Buffer);
    const { authorization, "content-type": type } = request.headers;
    const answer = await fetch(this.honestUrl + request.url, {
      method: request.method!,
      headers: { ...(authorization && { authorization }), ...(type && { "content-type": type }) },
      ...(parts.length > 0 && { body: Buffer.concat(parts) }),
    });
    let body = (await answer.json()) as Message;
    if (request.url === "/v1/login") {
      if (this.serverId !== undefined) body = { ...body, server_id: this.serverId };
      body = (this.script.login?.(body) ?? body) as Message;
    } else body = (this.script.subs?.(body as Message[]) ?? body) as Message;
    response.writeHead(answer.status, { "content-type": "application/json" }).end(JSON.stringify(body));
  }

  #serve(socket: WebSocket, wire: Duplex, request: IncomingMessage): void {
    this.sessions++;
    socket.on("error", () => {});
    if (this.script.takeOver !== undefined) {
      this.script.takeOver(socket, wire);
      return;
    }
    socket.on("ping", (data: Buffer) => socket.pong(data));
    const there = new WebSocket(`${this.honestUrl.replace("http", "ws")}/v1/sync`, [subprotocol], {
      headers: { authorization: request.headers.authorization },
    });
    const say = (sent: Sent) => socket.send(bytesOf(sent));
    const flood = (make: (i: number) => Sent, i = 0) =>
      void setImmediate(() => {
        if (socket.readyState === WebSocket.OPEN) socket.send(bytesOf(make(i)), () => flood(make, i + 1));
      });
    const end = () => socket.terminate();
    const script = this.script.session?.() ?? (({ message, frame }: Passing) => [message ?? frame]);
    const counts = new Map<string, number>();
    let sequence = 0;
    let slice = "";
    const pass = (type: string, what: object) => {
      const n = counts.get(type) ?? 0;
      counts.set(type, n + 1);
      for (const sent of script({ type, n, slice, next: sequence, flood, end, ...what } as Passing)) say(sent);
    };
    socket.on("message", (data: Buffer, binary: boolean) => {
      if (binary) return there.send(data);
      const message = JSON.parse(data.toString());
      if (message.type !== "confirm") sequence = 0;
      there.send(JSON.stringify(message.type === "compare" ? { ...message, accept: [] } : message));
    });
    there.on("message", (data: Buffer, binary: boolean) => {
      if (binary) {
        for (const frame of frames(data)) pass(frame.type, { frame: { ...frame, sequence: sequence++ } });
        return;
      }
      const message = JSON.parse(data.toString());
      if (message.type === "begin" && this.serverId !== undefined) message.server_id = this.serverId;
      slice = message.id ?? slice;
      pass(message.type, { message });
    });
    there.on("error", () => socket.close(1011));
    there.on("close", (code: number, reason: Buffer) =>
      socket.close(code === 1006 || code === 1005 ? 1011 : code, reason),
    );
    socket.on("close", () => there.terminate());
  }
}
