/** JSON documents as bytes, put together in pieces: a long list or payload keeps nobody waiting while it is written. */
import { setImmediate as breathe } from "node:timers/promises";

/** A text that comes in pieces, in place of a string in a document. */
export class LongText {
  constructor(readonly pieces: Iterable<string>) {}
}

/** A document's text, piece by piece: its elements if it is a list, its members if it has a long text. */
export function* jsonPieces(value: unknown): Generator<string> {
  if (Array.isArray(value)) {
    let separator = "[";
    for (const element of value as unknown[]) {
      yield separator;
      yield* jsonPieces(element);
      separator = ",";
    }
    yield value.length === 0 ? "[]" : "]";
  } else if (hasLongText(value)) {
    let separator = "{";
    for (const [key, member] of Object.entries(value)) {
      yield `${separator}${JSON.stringify(key)}:`;
      if (member instanceof LongText) yield* quoted(member.pieces);
      else yield JSON.stringify(member);
      separator = ",";
    }
    yield "}";
  } else yield JSON.stringify(value);
}

const hasLongText = (value: unknown): value is object =>
  typeof value === "object" && value !== null && Object.values(value).some((member) => member instanceof LongText);

function* quoted(pieces: Iterable<string>): Generator<string> {
  yield '"';
  for (const piece of pieces) yield JSON.stringify(piece).slice(1, -1);
  yield '"';
}

/** Bytes that are put together before others have their turn. */
const pieceBytes = 64 * 1024;

/** The whole document. */
export async function jsonBytes(value: unknown): Promise<Buffer> {
  const parts: Buffer[] = [];
  let text = "";
  for (const piece of jsonPieces(value)) {
    text += piece;
    if (text.length < pieceBytes) continue;
    parts.push(Buffer.from(text));
    text = "";
    await breathe();
  }
  parts.push(Buffer.from(text));
  return Buffer.concat(parts);
}
