/**
 * The sketch of a slice: the first coded symbols (cells) of the ids of its grains, from which the difference to another slice is found at a
 * cost in proportion to the difference (coded-symbols.ts). Grains are added and removed one by one. Pure; PROTOCOL.md, "Coded
 * symbols", has the arithmetic exactly.
 *
 * A cell is the XOR of the ids that are mapped to it (16 bytes), the XOR of their checks (the lower half of XXH64 of the id, 4 bytes),
 * and how many they are, modulo 2^16 (2 bytes). Every id is mapped to cell 0, and to cell i with a probability of 1/(1 + i/2).
 */
import { type Pieces, ranged } from "../../pieces.ts";
import { idBytes, listEntryBytes, xxh64 } from "./hash.ts";

/** A cell as it travels and is stored. */
export const cellBytes = 22;

/** How many cells a primary sends unasked: enough for a difference of about 90. */
export const firstCells = 128;

/** Most cells that are stored of a slice: 90 KB, enough for a difference of about 2,900. */
export const keptCells = 4096;
/** What a grain may take of them. */
const bytesOfGrain = 6;

/** How many cells a slice's sketch has: none where a list takes less, and twice as many whenever it has grown to twice its size. */
export function sketchCells(grains: number): number {
  if (grains * listEntryBytes <= firstCells * cellBytes) return 0;
  let cells = firstCells;
  while (cells * 2 <= Math.min(keptCells, (grains * bytesOfGrain) / cellBytes)) cells *= 2;
  return cells;
}

/** What is done in one piece, some milliseconds each. */
const seenAtOnce = 32_768;

/** Cells in a row, from cell 0. */
export class Cells {
  readonly length: number;
  /** Four words of each. */
  readonly ids: Uint32Array;
  readonly checks: Uint32Array;
  readonly counts: Uint16Array;

  constructor(length: number) {
    this.length = length;
    this.ids = new Uint32Array(4 * length);
    this.checks = new Uint32Array(length);
    this.counts = new Uint16Array(length);
  }

  /** The first cells that a sketch has. */
  static of(sketch: Buffer): Cells {
    const cells = new Cells(sketch.length / cellBytes);
    cells.#take(sketch, 0, 0, cells.length);
    return cells;
  }

  /** As many cells as there can be: for a slice of which it is not known yet how large it becomes. */
  static most(): Cells {
    return new Cells(keptCells);
  }

  /** Adds (`by` 1) or removes (`by` -1) the id that is at `at`. */
  toggle(bytes: Buffer, at: number, by: 1 | -1): void {
    if (this.length === 0) return;
    const { ids, checks, counts, length } = this;
    const [a, b, c, d] = [word(bytes, at), word(bytes, at + 4), word(bytes, at + 8), word(bytes, at + 12)];
    const walk = new Walk(bytes, at);
    const { check } = walk;
    for (let i = 0; i < length; i = walk.next()) {
      const n = 4 * i;
      ids[n]! ^= a;
      ids[n + 1]! ^= b;
      ids[n + 2]! ^= c;
      ids[n + 3]! ^= d;
      checks[i]! ^= check;
      counts[i]! += by;
    }
  }

  /** Writes the id of a cell that holds exactly one into `id`. @returns whether it does, as far as its check can tell. */
  holdsOne(i: number, id: Buffer): boolean {
    const count = this.counts[i];
    if (count !== 1 && count !== 0xffff) return false;
    for (let n = 0; n < 4; n++) id.writeUInt32BE(this.ids[4 * i + n]!, 4 * n);
    hashId(id, 0);
    return halves[low] === this.checks[i];
  }

  /** The cells from `first` to before `end`, as they travel. */
  encode(first = 0, end = this.length): Buffer {
    const bytes = Buffer.allocUnsafe((end - first) * cellBytes);
    for (let i = first, at = 0; i < end; i++, at += cellBytes) {
      for (let n = 0; n < 4; n++) bytes.writeUInt32BE(this.ids[4 * i + n]!, at + 4 * n);
      bytes.writeUInt32BE(this.checks[i]!, at + idBytes);
      bytes.writeUInt16BE(this.counts[i]!, at + idBytes + 4);
    }
    return bytes;
  }

  /** Takes cells that came, the first of which is cell `first`. */
  *decode(first: number, bytes: Buffer): Pieces<void> {
    yield* ranged(bytes.length / cellBytes, seenAtOnce, (from, to) => this.#take(bytes, first, from, to));
  }

  #take(bytes: Buffer, first: number, from: number, to: number): void {
    for (let i = first + from, at = from * cellBytes; at < to * cellBytes; i++, at += cellBytes) {
      for (let n = 0; n < 4; n++) this.ids[4 * i + n] = bytes.readUInt32BE(at + 4 * n);
      this.checks[i] = bytes.readUInt32BE(at + idBytes);
      this.counts[i] = bytes.readUInt16BE(at + idBytes + 4);
    }
  }

  /** The same cells as far as there are `length`, and room for what is missing of them. */
  resized(length: number): Cells {
    const cells = new Cells(length);
    cells.ids.set(this.ids.subarray(0, 4 * length));
    cells.checks.set(this.checks.subarray(0, length));
    cells.counts.set(this.counts.subarray(0, length));
    return cells;
  }
}

const word = (bytes: Buffer, at: number): number =>
  ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;

const whole = new BigUint64Array(1);
const halves = new Uint32Array(whole.buffer);
/** Where the lower half is. */
const low = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1 ? 0 : 1;

/** XXH64 of the id that is at `at`, into `whole`. By hand, since a view of it for each of millions costs more. */
function hashId(bytes: Buffer, at: number): void {
  for (let i = 0; i < idBytes; i++) one[i] = bytes[at + i]!;
  whole[0] = xxh64(one);
}
const one = new Uint8Array(idBytes);

const twoTo32 = 2 ** 32;

/**
 * The cells that an id is mapped to, after cell 0. The state is XXH64 of the id, stepped by xorshift64 (13, 7, 17); the next cell is
 * i + max(1, ceil((i + 1.5) (1 / sqrt(u) - 1))), with u the upper half of the state plus one, over 2^32, in IEEE doubles.
 */
export class Walk {
  readonly check: number;
  #high: number;
  #low: number;
  #i = 0;

  constructor(bytes: Buffer, at: number) {
    hashId(bytes, at);
    this.check = halves[low]!;
    // Zero is the one state that xorshift does not leave.
    const zero = whole[0] === 0n;
    this.#high = zero ? 0x9e3779b9 : halves[1 - low]!;
    this.#low = zero ? 0x7f4a7c15 : halves[low]!;
  }

  next(): number {
    let high = this.#high;
    let low = this.#low;
    high ^= (high << 13) | (low >>> 19);
    low ^= low << 13;
    low ^= (low >>> 7) | (high << 25);
    high ^= high >>> 7;
    high ^= (high << 17) | (low >>> 15);
    low ^= low << 17;
    this.#high = high;
    this.#low = low;
    const u = ((high >>> 0) + 1) / twoTo32;
    this.#i += Math.max(1, Math.ceil((this.#i + 1.5) * (1 / Math.sqrt(u) - 1)));
    return this.#i;
  }
}
