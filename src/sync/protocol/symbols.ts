/** Sets of symbols (64 bits, 8 bytes each): looked up, put in order and put together, whatever symbols a peer has chosen. Pure. */
import { idBytes, listEntryBytes, symbolBytes } from "../../slices/rules/hash.ts";
import { type Pieces, ranged } from "./pieces.ts";

/** Symbols that are looked up in one piece: some milliseconds. */
const seenAtOnce = 16_384;

/** Symbols that can be looked up. */
export class SymbolSet {
  readonly size: number;
  readonly #high: Uint32Array;
  readonly #low: Uint32Array;

  private constructor(size: number) {
    this.size = size;
    this.#high = new Uint32Array(size);
    this.#low = new Uint32Array(size);
  }

  /** @param symbols 8 bytes each, ascending. */
  static *of(symbols: Buffer): Pieces<SymbolSet> {
    const set = new SymbolSet(symbols.length / symbolBytes);
    yield* ranged(set.size, 2 * seenAtOnce, (from, to) => {
      for (let i = from; i < to; i++) {
        set.#high[i] = symbols.readUInt32BE(i * symbolBytes);
        set.#low[i] = symbols.readUInt32BE(i * symbolBytes + 4);
      }
    });
    return set;
  }

  /** Which of them it is, or -1: by halves, which costs the same whatever symbols a peer has chosen. */
  find(high: number, low: number): number {
    let from = 0;
    let to = this.size;
    while (from < to) {
      const middle = (from + to) >>> 1;
      const there = this.#high[middle]!;
      if (there < high || (there === high && this.#low[middle]! < low)) from = middle + 1;
      else to = middle;
    }
    return from < this.size && this.#high[from] === high && this.#low[from] === low ? from : -1;
  }
}

/** The list entries (id, symbol) whose symbol is among `symbols`, back to back. */
export function* entriesWith(list: Buffer, symbols: SymbolSet): Pieces<Buffer> {
  const view = new DataView(list.buffer, list.byteOffset, list.length);
  const count = list.length / listEntryBytes;
  const found = new Uint8Array(count);
  let all = 0;
  yield* ranged(count, seenAtOnce, (from, to) => {
    for (let i = from, at = i * listEntryBytes + idBytes; i < to; i++, at += listEntryBytes) {
      if (symbols.find(view.getUint32(at), view.getUint32(at + 4)) < 0) continue;
      found[i] = 1;
      all++;
    }
  });
  const entries = Buffer.allocUnsafe(all * listEntryBytes);
  let used = 0;
  yield* ranged(count, seenAtOnce, (from, to) => {
    for (let i = from; i < to; i++)
      if (found[i] === 1) used += list.copy(entries, used, i * listEntryBytes, (i + 1) * listEntryBytes);
  });
  return entries;
}

/** Symbols (8 bytes each) in ascending order, which costs the same whatever symbols a peer has chosen: byte by byte, the last one first. */
export function* ascending(symbols: Buffer): Pieces<Buffer> {
  const count = symbols.length / symbolBytes;
  let from = symbols;
  let to: Buffer = Buffer.allocUnsafe(symbols.length);
  for (let byte = symbolBytes - 1; byte >= 0; byte--) {
    const [source, sink] = [from, to];
    const next = new Uint32Array(257);
    yield* ranged(count, 2 * seenAtOnce, (first, end) => {
      for (let i = first; i < end; i++) next[source[i * symbolBytes + byte]! + 1]!++;
    });
    for (let i = 1; i <= 256; i++) next[i]! += next[i - 1]!;
    yield* ranged(count, 2 * seenAtOnce, (first, end) => {
      for (let i = first; i < end; i++) {
        const at = next[source[i * symbolBytes + byte]!]!++ * symbolBytes;
        for (let n = 0; n < symbolBytes; n++) sink[at + n] = source[i * symbolBytes + n]!;
      }
    });
    [from, to] = [sink, byte === symbolBytes - 1 ? Buffer.allocUnsafe(symbols.length) : source];
  }
  return from;
}

/** Whether no symbol is among these twice; both ascend. */
export function* areApart(one: Buffer, other: Buffer): Pieces<boolean> {
  let apart = true;
  for (const list of [one, other]) {
    yield* ranged(list.length / symbolBytes, seenAtOnce, (from, to) => {
      for (let at = Math.max(1, from) * symbolBytes; at < to * symbolBytes && apart; at += symbolBytes)
        apart = list.compare(list, at, at + symbolBytes, at - symbolBytes, at) !== 0;
    });
  }
  const others = yield* SymbolSet.of(other);
  yield* ranged(one.length / symbolBytes, seenAtOnce, (from, to) => {
    for (let at = from * symbolBytes; at < to * symbolBytes && apart; at += symbolBytes)
      apart = others.find(one.readUInt32BE(at), one.readUInt32BE(at + 4)) < 0;
  });
  return apart;
}

/** Symbols that are put together one by one. */
export class Words {
  readonly #words: Uint32Array;
  #used = 0;

  /** @param most that there can be. */
  constructor(most: number) {
    this.#words = new Uint32Array(2 * most);
  }

  add(high: number, low: number): void {
    this.#words[this.#used++] = high;
    this.#words[this.#used++] = low;
  }

  /** As they travel, 8 bytes each. */
  *bytes(): Pieces<Buffer> {
    const bytes = Buffer.allocUnsafe(this.#used * 4);
    yield* ranged(this.#used, 2 * seenAtOnce, (from, to) => {
      for (let i = from; i < to; i++) bytes.writeUInt32BE(this.#words[i]!, i * 4);
    });
    return bytes;
  }
}
