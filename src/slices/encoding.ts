/**
 * Payload encodings. What is stored is the payload without its text armour (gzip kept); on REST the
 * armour is put back. Base64 is written padded and read with or without padding.
 */
import { SandpiperError } from "../errors.ts";
import type { Encoding } from "./slice.ts";

/** Whether the stored bytes of this encoding are gzip. */
export const isGzip = (encoding: Encoding): boolean => encoding === "z64" || encoding === "z85";

/**
 * The most bytes that a gzip payload of `stored` bytes is inflated to. Catalogues shrink to a tenth or a fortieth; what
 * is made to unfold comes to a thousand times its size, and is stopped long before.
 */
export const mostInflated = (stored: number): number => Math.max(1024 * 1024, 200 * stored);

/** The payload as REST carries it. `raw` is text; bytes that are not UTF-8 cannot be shown that way and throw `conflict`. */
export function armour(encoding: Encoding, stored: Buffer): string {
  if (encoding === "b64" || encoding === "z64") return stored.toString("base64");
  if (encoding === "a85" || encoding === "z85") return encodeAscii85(stored);
  const text = stored.toString("utf8");
  if (!Buffer.from(text).equals(stored)) {
    throw new SandpiperError("conflict", "this raw payload is not UTF-8 text and cannot be shown as JSON", {
      hint: "Use `sandpiper pull`.",
    });
  }
  return text;
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
  const out: string[] = [];
  for (let at = 0; at < bytes.length; at += 4) {
    const length = Math.min(4, bytes.length - at);
    const word = Buffer.alloc(4);
    bytes.copy(word, 0, at, at + length);
    let value = word.readUInt32BE();
    if (value === 0 && length === 4) {
      out.push("z");
      continue;
    }
    const digits = new Array<string>(5);
    for (let i = 4; i >= 0; i--) {
      digits[i] = String.fromCharCode(33 + (value % 85));
      value = Math.floor(value / 85);
    }
    out.push(digits.slice(0, length + 1).join(""));
  }
  return out.join("");
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
