/** A JSON array that comes in pieces, cut into its elements as they come: however long it is, no more than one of them is held. Pure. */
import { refuse } from "./guards.ts";
import { violation } from "./messages.ts";

const quote = 0x22;
const comma = 0x2c;
const backslash = 0x5c;
const [openList, closeList] = [0x5b, 0x5d];
const [openObject, closeObject] = [0x7b, 0x7d];
const isBlank = (byte: number) => byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;

export class JsonRows {
  readonly #what: string;
  readonly #maxBytes: number;
  /** Lists and objects that are open: 0 outside of the array, 1 between its elements. */
  #depth = 0;
  #inText = false;
  #escaped = false;
  #ended = false;
  /** What has come of the element under way. */
  #parts: Buffer[] = [];
  #bytes = 0;
  #rows = 0;

  /**
   * @param what the array is, for messages.
   * @param maxBytes of one element.
   */
  constructor(what: string, maxBytes: number) {
    this.#what = what;
    this.#maxBytes = maxBytes;
  }

  /** The elements that are complete with this piece. @throws `protocol` for anything but an array of JSON values of at most so many bytes. */
  *take(piece: Buffer): Generator<unknown> {
    let from = 0;
    for (let at = 0; at < piece.length; at++) {
      const byte = piece[at]!;
      if (this.#inText) {
        if (this.#escaped) this.#escaped = false;
        else if (byte === backslash) this.#escaped = true;
        else if (byte === quote) this.#inText = false;
      } else if (this.#depth === 0) {
        if (isBlank(byte)) continue;
        if (byte !== openList || this.#ended) refuse("rows.list", violation(`${this.#what} is not a list`));
        this.#depth = 1;
        from = at + 1;
      } else if (byte === quote) this.#inText = true;
      else if (byte === openList || byte === openObject) this.#depth++;
      else if (this.#depth > 1) {
        if (byte === closeList || byte === closeObject) this.#depth--;
      } else if (byte === comma || byte === closeList) {
        this.#keep(piece.subarray(from, at));
        from = at + 1;
        if (byte === closeList) {
          this.#depth = 0;
          this.#ended = true;
        }
        // Only an empty array has nothing before its end.
        if (byte === comma || this.#rows > 0 || !this.#blank()) yield this.#row();
        this.#parts = [];
        this.#bytes = 0;
      }
    }
    if (this.#depth > 0) this.#keep(piece.subarray(from));
  }

  /** @throws `protocol` when the array has not come to its end. */
  end(): void {
    if (!this.#ended) refuse("rows.cut", violation(`${this.#what} is cut short`));
  }

  #keep(part: Buffer): void {
    this.#bytes += part.length;
    if (this.#bytes > this.#maxBytes)
      refuse("rows.entry-bytes", violation(`${this.#what} has an entry of more than ${this.#maxBytes} bytes`));
    if (part.length > 0) this.#parts.push(part);
  }

  #blank(): boolean {
    return this.#parts.every((part) => part.every(isBlank));
  }

  #row(): unknown {
    this.#rows++;
    try {
      return JSON.parse(Buffer.concat(this.#parts).toString());
    } catch {
      refuse("rows.json", violation(`${this.#what} is not JSON`));
    }
  }
}
