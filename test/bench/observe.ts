/**
 * Loaded into a measured command by `node --import`: what it asked, what it received and how much memory it took. SP_OBSERVE names the
 * files, SP_KILL_AT a number of bytes after which the process kills itself (SIGKILL, as a power cut would).
 */
import { subscribe } from "node:diagnostics_channel";
import { EventEmitter } from "node:events";
import { openSync, writeFileSync, writeSync } from "node:fs";
import type { ClientRequest, IncomingMessage } from "node:http";
import type { Socket } from "node:net";

/** A request, an answer or a message, with its size on the wire for messages of the websocket. */
export interface Seen {
  atMs: number;
  way: "out" | "in";
  /** "POST /v1/login", "200", "compare", "frame". */
  what: string;
  bytes: number;
}

/** What is left behind at the end of a process that ended by itself. */
export interface Observed {
  rss: number;
  endedMs: number;
  seen: Seen[];
}

const name = process.env.SP_OBSERVE ?? "observed";
const killAt = Number(process.env.SP_KILL_AT ?? Number.POSITIVE_INFINITY);
const seen: Seen[] = [];
const see = (way: Seen["way"], what: string, bytes = 0) => seen.push({ atMs: performance.now(), way, what, bytes });

// Bytes that were read from TCP sockets (the database is behind a socket of the file system), on record at once.
const total = Buffer.alloc(8);
const file = openSync(`${name}.bytes`, "w");
subscribe("net.client.socket", (message) => {
  const { socket } = message as { socket: Socket };
  const push = socket.push;
  socket.push = (chunk: Buffer | null) => {
    if (chunk !== null && socket.remotePort !== undefined) {
      const bytes = total.readBigUInt64LE() + BigInt(chunk.length);
      total.writeBigUInt64LE(bytes);
      writeSync(file, total, 0, 8, 0);
      if (bytes >= killAt) process.kill(process.pid, "SIGKILL");
    }
    return push.call(socket, chunk);
  };
});

subscribe("http.client.request.start", (message) => {
  const { request } = message as { request: ClientRequest };
  see("out", `${request.method} ${request.path}`);
});
subscribe("http.client.response.finish", (message) => {
  see("in", String((message as { response: IncomingMessage }).response.statusCode));
});

const maskBytes = 4;
const headerBytes = (length: number) => (length < 126 ? 2 : length < 65536 ? 4 : 10);
const nameOf = (data: string | Buffer, binary: boolean) =>
  binary ? "frame" : (JSON.parse(data.toString()) as { type: string }).type;

/** A websocket of whichever copy of `ws` the program brings: known by its name, and by what it can do. */
interface Socketed {
  send(data: string | Buffer, ...rest: unknown[]): void;
}
const isWebSocket = (emitter: unknown): emitter is Socketed =>
  (emitter as object).constructor.name === "WebSocket" && typeof (emitter as Socketed).send === "function";

const watched = new WeakSet<object>();

/** Sees what is sent by this kind of websocket from now on. */
function watchSending(prototype: Socketed): void {
  if (watched.has(prototype)) return;
  watched.add(prototype);
  const { send } = prototype;
  prototype.send = function (this: Socketed, data, ...rest) {
    const length = Buffer.byteLength(data);
    see("out", nameOf(data, typeof data !== "string"), length + headerBytes(length) + maskBytes);
    return Reflect.apply(send, this, [data, ...rest]);
  };
}

const { emit } = EventEmitter.prototype;
EventEmitter.prototype.emit = function (this: EventEmitter, event: string | symbol, ...rest: unknown[]) {
  if ((event === "upgrade" || event === "message") && isWebSocket(this)) {
    watchSending(Object.getPrototypeOf(this) as Socketed);
    if (event === "upgrade") see("in", "101");
    else {
      const [data, binary] = rest as [Buffer, boolean];
      see("in", nameOf(data, binary), data.length + headerBytes(data.length));
    }
  }
  return Reflect.apply(emit, this, [event, ...rest]) as boolean;
};

process.on("exit", () => {
  const observed: Observed = { rss: process.resourceUsage().maxRSS * 1024, endedMs: performance.now(), seen };
  writeFileSync(`${name}.json`, JSON.stringify(observed));
});
