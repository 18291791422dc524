/**
 * Payload encodings. What is stored is the payload without its text armour (gzip kept); on REST the
 * armour is put back. Base64 is written padded and read with or without padding.
 */
import { SandpiperError } from "../../errors.ts";
import type { Encoding } from "./slice.ts";

/** Whether the stored bytes of this encoding are gzip. */
export const isGzip = (encoding: Encoding): boolean => encoding === "z64" || encoding === "z85";

/**
 * The most bytes that a gzip payload of `stored` bytes is inflated to. Catalogues shrink to a tenth or a fortieth; what
 * is made to unfold comes to a thousand times its size, and is stopped long before.
 */
export const mostInflated = (stored: number): number => Math.max(1024 * 1024, 200 * stored);

/** The payload as REST carries it. `raw` is text; bytes that are not UTF-8 cannot be shown that way and throw `conflict`. */
/** The payload as REST carries it. @throws `conflict` as {@link Armour}. */
export function armour(encoding: Encoding, stored: Buffer): string {
  const text = new Armour(encoding);
  return text.take(stored) + text.end();
}

/** Puts the armour on a payload that comes in pieces. `raw` is text; bytes that are not UTF-8 cannot be shown that way and throw `conflict`. */
export class Armour {
  readonly #encoding: Encoding;
  readonly #decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  /** Bytes that wait for others: of 3 bytes base64 makes 4 letters, of 4 ascii85 makes 5. */
  #rest: Buffer = Buffer.alloc(0);

  constructor(encoding: Encoding) {
    this.#encoding = encoding;
  }

  /** The text of what has come so far and was not given out yet, as far as it is decided. */
  take(stored: Buffer): string {
    if (this.#encoding === "raw") return this.#decode(stored);
    const bytes = this.#rest.length === 0 ? stored : Buffer.concat([this.#rest, stored]);
    const base64 = this.#encoding === "b64" || this.#encoding === "z64";
    const whole = bytes.length - (bytes.length % (base64 ? 3 : 4));
    this.#rest = bytes.subarray(whole);
    return this.#encode(bytes.subarray(0, whole));
  }

  /** The text of the last bytes. */
  end(): string {
    return this.#encoding === "raw" ? this.#decode() : this.#encode(this.#rest);
  }

  #encode(bytes: Buffer): string {
    return this.#encoding === "b64" || this.#encoding === "z64" ? bytes.toString("base64") : encodeAscii85(bytes);
  }

  #decode(stored?: Buffer): string {
    try {
      return this.#decoder.decode(stored, { stream: stored !== undefined });
    } catch {
      throw new SandpiperError("conflict", "this raw payload is not UTF-8 text and cannot be shown as JSON", {
        hint: "Use `sandpiper pull`.",
      });
    }
  }
}

/** The bytes to store of a payload that came by REST. @throws `usage` when it is not in the encoding that it claims. */
export function unarmour(encoding: Encoding, text: string): Buffer {
  if (encoding === "raw") {
    if (text.isWellFormed()) return Buffer.from(text);
    throw new SandpiperError("usage", "the payload is not valid Unicode", { hint: "Send it as b64 instead." });
  }
  const bytes = encoding === "b64" || encoding === "z64" ? decodeBase64(text) : decodeAscii85(text);
  if (isGzip(encoding) && !(bytes.length >= 18 && bytes[0] === 0x1f && bytes[1] === 0x8b)) {
    throw new SandpiperError("usage", `the payload is not gzip, which ${encoding} says it is`, {
      hint: "Compress it with gzip first, or name its true encoding.",
    });
  }
  return bytes;
}

function decodeBase64(text: string): Buffer {
  const compact = text.replace(/[\r\n]/g, "");
  const odd = compact.replace(/=+$/, "").length % 4;
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(compact) || odd === 1 || (odd === 0 && compact.endsWith("="))) {
    throw new SandpiperError("usage", "the payload is not base64", {
      hint: "Encode it with the standard alphabet (A-Z a-z 0-9 + /).",
    });
  }
  return Buffer.from(compact, "base64");
}

/** Adobe's ascii85 without the `<~ ~>` frame, as Go's encoding/ascii85: "z" for four zero bytes. */
function encodeAscii85(bytes: Buffer): string {
  const out = Buffer.allocUnsafe(Math.ceil(bytes.length / 4) * 5);
  let length = 0;
  for (let at = 0; at < bytes.length; at += 4) {
    let value = 0;
    for (let i = at; i < at + 4; i++) value = value * 256 + (bytes[i] ?? 0);
    const kept = Math.min(4, bytes.length - at);
    if (value === 0 && kept === 4) {
      out[length++] = 122;
      continue;
    }
    for (let i = 4; i >= 0; i--) {
      out[length + i] = 33 + (value % 85);
      value = Math.floor(value / 85);
    }
    length += kept + 1;
  }
  return out.toString("latin1", 0, length);
}

function decodeAscii85(text: string): Buffer {
  const bad = () =>
    new SandpiperError("usage", "the payload is not ascii85", { hint: "Encode it without the <~ ~> frame." });
  const out = Buffer.alloc(Math.ceil(text.length * 4) + 4);
  let length = 0;
  let digits: number[] = [];
  const flush = (kept: number) => {
    let value = 0;
    for (let i = 0; i < 5; i++) value = value * 85 + (digits[i] ?? 84);
    if (value > 0xffffffff) throw bad();
    const word = Buffer.alloc(4);
    word.writeUInt32BE(value);
    length += word.copy(out, length, 0, kept);
    digits = [];
  };
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === 10 || code === 13 || code === 32) continue;
    if (code === 122 && digits.length === 0) {
      out.fill(0, length, length + 4);
      length += 4;
      continue;
    }
    if (code < 33 || code > 117) throw bad();
    digits.push(code - 33);
    if (digits.length === 5) flush(4);
  }
  if (digits.length === 1) throw bad();
  if (digits.length > 1) flush(digits.length - 1);
  return out.subarray(0, length);
}
