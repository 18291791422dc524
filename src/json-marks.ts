/** Counts the parts of a JSON text in its bytes, before anything is built from it: a short text can become a very large value. Pure. */

/** Most that a text may be made of. */
export interface MostMarks {
  /** How deep arrays and objects nest. */
  depth: number;
  /** Elements and members, and the arrays and objects that hold them. */
  values: number;
}

const quote = 0x22;
const backslash = 0x5c;
/** 1 for a byte that is looked at; most are not, and are passed over at once. */
const isMark = new Uint8Array(256);
for (const byte of Buffer.from('":,[]{}')) isMark[byte] = 1;
/** So many bytes of a string are looked at here; then comes a search that begins slowly and is fast from there on. */
const shortString = 64;

/** @returns how many members of objects there are, or what there is too much of. What is no JSON is counted as well as it goes. */
export function countMarks(text: Buffer, most: MostMarks): { members: number } | "depth" | "values" {
  const { depth: mostDepth, values: mostValues } = most;
  let depth = 0;
  let values = 0;
  let members = 0;
  for (let at = 0; at < text.length; at++) {
    const byte = text[at]!;
    if (isMark[byte] === 0) continue;
    if (byte === 0x2c) {
      if (++values > mostValues) return "values";
    } else if (byte === quote) at = stringEnd(text, at);
    else if (byte === 0x3a) members++;
    else if (byte === 0x5b || byte === 0x7b) {
      if (++values > mostValues) return "values";
      if (++depth > mostDepth) return "depth";
    } else depth--;
  }
  return { members };
}

/** Where the string ends that begins at `start`. */
function stringEnd(text: Buffer, start: number): number {
  let at = start + 1;
  for (;;) {
    const near = Math.min(text.length, at + shortString);
    while (at < near) {
      if (text[at] === quote) return at;
      at += text[at] === backslash ? 2 : 1;
    }
    const end = text.indexOf(quote, at);
    if (end < 0) return text.length;
    let backslashes = 0;
    while (end - backslashes > at && text[end - 1 - backslashes] === backslash) backslashes++;
    if (backslashes % 2 === 0) return end;
    at = end + 1;
  }
}
