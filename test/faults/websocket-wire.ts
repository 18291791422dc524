/** A websocket by hand: every bit of a frame can be wrong. */
import { connect, type Socket } from "node:net";

export interface FrameBits {
  fin?: boolean;
  /** The three reserved bits: 4 is RSV1, which means compression. */
  rsv?: number;
  masked?: boolean;
  /** A length that is declared instead of the true one. */
  length?: bigint;
}

export const opcodes = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9 } as const;

/** A frame as a client sends it, unless it is told otherwise. The mask is of zeros. */
export function wireFrame(opcode: number, payload: Buffer | string = "", bits: FrameBits = {}): Buffer {
  const body = Buffer.from(payload);
  const { fin = true, rsv = 0, masked = true, length = BigInt(body.length) } = bits;
  const size = length < 126n ? 0 : length < 65_536n ? 2 : 8;
  const head = Buffer.alloc(2 + size);
  head[0] = (fin ? 0x80 : 0) | (rsv << 4) | opcode;
  head[1] = (masked ? 0x80 : 0) | (size === 0 ? Number(length) : size === 2 ? 126 : 127);
  if (size === 2) head.writeUInt16BE(Number(length), 2);
  if (size === 8) head.writeBigUInt64BE(length, 2);
  return Buffer.concat([head, Buffer.alloc(masked ? 4 : 0), body]);
}

/** A close frame with these bytes in it. */
export const closeFrame = (code: number, reason: Buffer | string = ""): Buffer => {
  const payload = Buffer.concat([Buffer.alloc(2), Buffer.from(reason)]);
  payload.writeUInt16BE(code);
  return wireFrame(opcodes.close, payload);
};

export const upgradeRequest = (lines: readonly string[], path = "/v1/sync"): string =>
  [
    `GET ${path} HTTP/1.1`,
    "Host: x",
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
    "Sec-WebSocket-Protocol: sandpiper.sync.2",
    ...lines,
    "\r\n",
  ].join("\r\n");

/**
 * Upgrades, waits for `begin`, sends `bytes`, and reads until the server closes.
 *
 * @returns the close code; 1006 when the connection ended without one, 1000 after `withinMs` in which it did not.
 */
export function closeCodeOf(port: number, token: string, bytes: readonly Buffer[], withinMs: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const socket: Socket = connect(port, "127.0.0.1");
    let received: Buffer = Buffer.alloc(0);
    let upgraded = false;
    let begun = false;
    const finish = (code: number) => {
      clearTimeout(timer);
      socket.destroy();
      resolve(code);
    };
    const timer = setTimeout(() => finish(1000), withinMs);
    socket.on("connect", () => socket.write(upgradeRequest([`Authorization: Bearer ${token}`])));
    socket.on("error", () => finish(1006));
    socket.on("close", () => finish(1006));
    socket.on("data", (piece) => {
      received = Buffer.concat([received, piece]);
      if (!upgraded) {
        const end = received.indexOf("\r\n\r\n");
        if (end < 0) return;
        if (!received.toString("latin1", 0, end).startsWith("HTTP/1.1 101"))
          reject(new Error(received.toString("latin1", 0, end)));
        received = received.subarray(end + 4);
        upgraded = true;
      }
      for (;;) {
        const frame = takeFrame(received);
        if (frame === undefined) return;
        received = frame.rest;
        if (frame.opcode === opcodes.close) finish(frame.payload.length < 2 ? 1005 : frame.payload.readUInt16BE(0));
        if (frame.opcode !== opcodes.text || begun) continue;
        begun = true;
        for (const part of bytes) socket.write(part);
      }
    });
  });
}

function takeFrame(bytes: Buffer): { opcode: number; payload: Buffer; rest: Buffer } | undefined {
  if (bytes.length < 2) return undefined;
  const short = bytes[1]! & 0x7f;
  const size = short < 126 ? 0 : short === 126 ? 2 : 8;
  if (bytes.length < 2 + size) return undefined;
  const length = size === 0 ? short : size === 2 ? bytes.readUInt16BE(2) : Number(bytes.readBigUInt64BE(2));
  const end = 2 + size + length;
  if (bytes.length < end) return undefined;
  return { opcode: bytes[0]! & 0x0f, payload: bytes.subarray(2 + size, end), rest: bytes.subarray(end) };
}
