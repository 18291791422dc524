/**
 * Payload encodings. What is stored is the payload without its text armour (gzip kept); on REST the
 * armour is put back. Base64 is written padded and read with or without padding.
 */
import { isUtf8 } from "node:buffer";
import { StringDecoder } from "node:string_decoder";
import { SandpiperError } from "../errors.ts";
import { joined, type Pieces } from "../pieces.ts";
import type { Encoding } from "./slice.ts";

/** Whether the stored bytes of this encoding are gzip. */
export const isGzip = (encoding: Encoding): boolean => encoding === "z64" || encoding === "z85";

/** Bytes that are armoured, and characters that are read, in one piece: whole groups of 3, 4 and 5. */
const pieceLength = 3 * 4 * 5 * 1024;

/** The payload as REST carries it, in pieces. `raw` is text; bytes that are not UTF-8 cannot be shown that way and throw `conflict`. */
export function* armour(encoding: Encoding, stored: Buffer): Generator<string> {
  if (encoding === "raw") {
    if (!isUtf8(stored)) {
      throw new SandpiperError("conflict", "this raw payload is not UTF-8 text and cannot be shown as JSON", {
        hint: "Use `sandpiper pull`.",
      });
    }
    const decoder = new StringDecoder("utf8");
    for (let at = 0; at < stored.length; at += pieceLength) yield decoder.write(stored.subarray(at, at + pieceLength));
    return;
  }
  const base64 = encoding === "b64" || encoding === "z64";
  for (let at = 0; at < stored.length; at += pieceLength) {
    const piece = stored.subarray(at, at + pieceLength);
    yield base64 ? piece.toString("base64") : encodeAscii85(piece);
  }
}

/** The bytes to store of a payload that came by REST. @throws `usage` when it is not in the encoding that it claims. */
export function* unarmour(encoding: Encoding, text: string): Pieces<Buffer> {
  if (encoding === "raw") {
    if (text.isWellFormed()) return Buffer.from(text);
    throw new SandpiperError("usage", "the payload is not valid Unicode", { hint: "Send it as b64 instead." });
  }
  const bytes = yield* encoding === "b64" || encoding === "z64" ? decodeBase64(text) : decodeAscii85(text);
  if (isGzip(encoding) && !(bytes.length >= 18 && bytes[0] === 0x1f && bytes[1] === 0x8b)) {
    throw new SandpiperError("usage", `the payload is not gzip, which ${encoding} says it is`, {
      hint: "Compress it with gzip first, or name its true encoding.",
    });
  }
  return bytes;
}

function* decodeBase64(text: string): Pieces<Buffer> {
  const bad = () =>
    new SandpiperError("usage", "the payload is not base64", {
      hint: "Encode it with the standard alphabet (A-Z a-z 0-9 + /).",
    });
  const parts: Buffer[] = [];
  let padding = 0;
  let held = "";
  for (let at = 0; at < text.length; at += pieceLength) {
    if (at > 0) yield;
    const compact = text.slice(at, at + pieceLength).replace(/[\r\n]/g, "");
    let end = compact.length;
    while (end > 0 && compact[end - 1] === "=") end--;
    const digits = compact.slice(0, end);
    if (!/^[A-Za-z0-9+/]*$/.test(digits) || (digits !== "" && padding > 0)) throw bad();
    padding += compact.length - end;
    if (padding > 2) throw bad();
    const known = held + digits;
    const whole = known.length - (known.length % 4);
    parts.push(Buffer.from(known.slice(0, whole), "base64"));
    held = known.slice(whole);
  }
  if (held.length === 1 || (held === "" && padding > 0)) throw bad();
  parts.push(Buffer.from(held, "base64"));
  return yield* joined(parts);
}

/** Adobe's ascii85 without the `<~ ~>` frame, as Go's encoding/ascii85: "z" for four zero bytes. */
function encodeAscii85(bytes: Buffer): string {
  const out = Buffer.allocUnsafe(Math.ceil(bytes.length / 4) * 5);
  let used = 0;
  for (let at = 0; at < bytes.length; at += 4) {
    const length = Math.min(4, bytes.length - at);
    let value = 0;
    for (let i = 0; i < 4; i++) value = value * 256 + (i < length ? bytes[at + i]! : 0);
    if (value === 0 && length === 4) {
      out[used++] = zero;
      continue;
    }
    for (let i = 4; i >= 0; i--) {
      out[used + i] = firstDigit + (value % 85);
      value = Math.floor(value / 85);
    }
    used += length + 1;
  }
  return out.toString("latin1", 0, used);
}

const firstDigit = 0x21;
/** "z": four zero bytes. */
const zero = 0x7a;

function* decodeAscii85(text: string): Pieces<Buffer> {
  const bad = () =>
    new SandpiperError("usage", "the payload is not ascii85", { hint: "Encode it without the <~ ~> frame." });
  const parts: Buffer[] = [];
  let value = 0;
  let digits = 0;
  for (let from = 0; from < text.length; from += pieceLength) {
    if (from > 0) yield;
    const to = Math.min(text.length, from + pieceLength);
    // Every character may be four zero bytes, and the last one may end a group that was begun before.
    const out = Buffer.allocUnsafe((to - from) * 4);
    let used = 0;
    for (let at = from; at < to; at++) {
      const code = text.charCodeAt(at);
      if (code === 10 || code === 13 || code === 32) continue;
      if (code === zero && digits === 0) used = out.writeUInt32BE(0, used);
      else if (code < firstDigit || code > 117) throw bad();
      else {
        value = value * 85 + code - firstDigit;
        if (++digits < 5) continue;
        if (value > 0xffffffff) throw bad();
        used = out.writeUInt32BE(value, used);
        value = 0;
        digits = 0;
      }
    }
    parts.push(Buffer.from(out.subarray(0, used)));
  }
  if (digits === 1) throw bad();
  if (digits > 1) {
    for (let n = digits; n < 5; n++) value = value * 85 + 84;
    if (value > 0xffffffff) throw bad();
    const last = Buffer.alloc(4);
    last.writeUInt32BE(value);
    parts.push(last.subarray(0, digits - 1));
  }
  return yield* joined(parts);
}
