/** What takes long, or would never end: silence, single bytes, floods, and sizes that nobody has. */
import type { Duplex } from "node:stream";
import type { WebSocket } from "ws";
import { uuidBytes } from "../../../src/ids.ts";
import { protocolVersion } from "../../../src/sync/protocol/messages.ts";
import { opcodes, wireFrame } from "../websocket-wire.ts";
import {
  at,
  instead,
  inventedGrain,
  inventedLarge,
  lastByte,
  ofNobody,
  type PrimaryMove,
  poked,
} from "./primary-script.ts";
import type { SecondaryMove } from "./secondary-moves.ts";

const say = (socket: WebSocket, message: object) => socket.send(JSON.stringify(message));
const numbered = (i: number) => `ffffffff-ffff-4fff-bfff-${String(i).padStart(12, "0")}`;

/** Bytes below the websocket as a server sends them. */
const raw = (opcode: number, payload: Buffer | string, bits: Parameters<typeof wireFrame>[2] = {}) =>
  wireFrame(opcode, payload, { ...bits, masked: false });

/** Writes one thing after another, as fast as they are taken, until the connection ends. */
function pour(wire: Duplex, next: () => Buffer): void {
  const more = () => {
    if (!wire.destroyed && wire.writable) wire.write(next(), () => setImmediate(more));
  };
  more();
}

/** One byte at a time. */
function drip(wire: Duplex, bytes: Buffer, everyMs: number): void {
  let i = 0;
  const timer = setInterval(() => {
    if (wire.destroyed || i === bytes.length) clearInterval(timer);
    else wire.write(bytes.subarray(i, ++i));
  }, everyMs);
}

const megabyte = Buffer.alloc(1024 * 1024, "x");
const endless = (name: string, exit: number, script: Partial<PrimaryMove>): PrimaryMove => ({
  name,
  slice: "fresh",
  exit,
  once: true,
  ...script,
});

/** The second grain is another, and the connection is cut soon after it: what has arrived is kept. */
const cutAfter = (last: number, change: (body: Buffer) => void): Pick<PrimaryMove, "session"> => ({
  session: () => {
    let cut = false;
    return ({ type, n, message, frame, end }) => {
      if (cut) return [];
      if (type !== "grains") return [message ?? frame];
      cut = n === last;
      if (cut) setTimeout(end, 100);
      return [n === 1 ? poked(frame, change) : frame];
    };
  },
});

/** They end by themselves, soon. */
export const endlessMoves: readonly PrimaryMove[] = [
  endless("a place that never comes", 3, {
    says: /kept us waiting for a place/,
    takeOver: (socket) => {
      const timer = setInterval(() => say(socket, { type: "queued", ahead: 1, retry_after: 5 }), 50);
      socket.on("close", () => clearInterval(timer));
    },
  }),
  endless("a place that never comes, said as often as can be", 3, {
    says: /kept us waiting for a place/,
    takeOver: (_socket, wire) => pour(wire, () => raw(opcodes.text, '{"type":"queued","ahead":1,"retry_after":5}')),
  }),
  endless("grains for ever", 4, {
    ...instead("end", 0, ({ next, flood }) => {
      flood((i) => inventedGrain(next + i, numbered(i), `more ${i}`, "x".repeat(1_000_000)));
      return [];
    }),
  }),
  endless("chunks for ever", 11, {
    ...instead("grains", 1, ({ frame, flood }) => {
      flood((i) => ({ type: "chunk", sequence: frame.sequence + 1 + i, entries: 1, body: megabyte }));
      return [inventedLarge(frame, 2 ** 50)];
    }),
  }),
  endless("a first slice that is never named, for ever", 4, {
    ...instead("compared", 0, ({ flood }) => {
      flood(() => ({ type: "confirmed", id: ofNobody, run_id: ofNobody }));
      return [];
    }),
  }),
  endless("pings for ever", 3, {
    takeOver: (_socket, wire) => pour(wire, () => raw(opcodes.ping, "x")),
    says: /said nothing/,
  }),
  endless("a message of 2 GB", 4, {
    takeOver: (_socket, wire) => {
      wire.write(raw(opcodes.binary, "", { length: 2n ** 31n }));
      pour(wire, () => megabyte);
    },
  }),
  endless("a message in pieces for ever", 4, {
    takeOver: (_socket, wire) => {
      wire.write(raw(opcodes.text, "x", { fin: false }));
      pour(wire, () => raw(opcodes.continuation, "x", { fin: false }));
    },
  }),
  endless("an answer to the login for ever", 11, {
    http: (_request, response) => {
      response.writeHead(200, { "content-type": "application/json" });
      pour(response as unknown as Duplex, () => megabyte);
      return true;
    },
  }),
  endless("a byte of a payload changed, and the connection cut", 3, cutAfter(3, lastByte)),
  // Where a staged beginning ends is where the next run goes on: behind everything, here.
  endless("an id behind all others, and the connection cut", 3, {
    ...cutAfter(1, (body) => void uuidBytes(ofNobody).copy(body, at.id)),
    heals: 2,
  }),
];

const begin = {
  type: "begin",
  protocol: protocolVersion,
  server_id: ofNobody,
  company_id: ofNobody,
  limits: { frame_bytes: 1, slices: 1000 },
  capabilities: [],
};

/** They wait for limits of time. */
export const slowMoves: readonly PrimaryMove[] = [
  endless("silence after the 101", 3, { takeOver: () => {}, says: /said nothing for 15 seconds/ }),
  endless("a byte every ten seconds from the beginning", 3, {
    takeOver: (_socket, wire) => drip(wire, raw(opcodes.text, JSON.stringify(begin)), 10_000),
    says: /said nothing for 15 seconds/,
  }),
  endless("a login of a byte every ten seconds", 3, {
    http: (_request, response) => {
      response.writeHead(200, { "content-type": "application/json" });
      drip(response as unknown as Duplex, megabyte, 10_000);
      return true;
    },
    says: /did not answer within 30 seconds/,
  }),
];

/** The same from the other side. */
export const slowSecondaryMoves: readonly SecondaryMove[] = [
  { name: "silence after the 101", close: 4408, withinMs: 20_000, do: async () => {} },
  {
    name: "a byte every ten seconds",
    close: 4408,
    withinMs: 60_000,
    do: async (self) => {
      await self.compare();
      await self.dribble(wireFrame(opcodes.text, "x".repeat(100)).subarray(0, 6), 10_000);
    },
  },
];
