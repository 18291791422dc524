/**
 * What describes the grains of a slice, and changes with each of them in constant time: their sum, how many they are, their bytes, and
 * their sketch. Pure.
 *
 * It is told of grains by their **marks**, which are read from the rows that are stored: the id (16 bytes), the digest (32), and how many
 * bytes the payload has (u64), 56 bytes each, back to back.
 */
import { digestBytes, idBytes, type Summed, sumBytes } from "./hash.ts";
import { Cells, sketchCells } from "./sketch.ts";

export const markBytes = idBytes + digestBytes + 8;

/** How many bytes the payload of a mark's grain has. */
export const payloadBytesOf = (mark: Buffer): number => Number(mark.readBigUInt64BE(idBytes + digestBytes));

/** How many grains these marks are of. */
export const markCount = (marks: Buffer): number => marks.length / markBytes;

export interface Figures extends Summed {
  /** Payload bytes as they are stored. */
  bytes: number;
  /** Its first cells, back to back; none where a list takes less. */
  sketch: Buffer;
}

const words = sumBytes / 4;
/** So often a word may be added to another one before a double is not exact any more. */
const mostCarried = 2 ** 20;

export class Tally {
  /** The words of the sum, the highest first; what is over is carried later. */
  readonly #sum = new Float64Array(words);
  #carried = 0;
  #count = 0;
  #bytes = 0;
  #cells: Cells;
  /** Nothing was there when it began: the sketch can be as long as it has to be. */
  #fresh: boolean;

  /** @param stored what the slice has; nothing for one that is counted from its first grain. */
  constructor(stored?: Figures) {
    this.#fresh = stored === undefined || stored.count === 0;
    this.#cells = this.#fresh ? Cells.most() : Cells.of(stored!.sketch);
    if (stored === undefined) return;
    for (let i = 0; i < words; i++) this.#sum[i] = stored.sum.readUInt32BE(4 * i);
    this.#count = stored.count;
    this.#bytes = stored.bytes;
  }

  add(marks: Buffer): void {
    this.#take(marks, 1);
  }

  remove(marks: Buffer): void {
    this.#take(marks, -1);
  }

  /** All grains are gone. */
  clear(): void {
    this.#sum.fill(0);
    this.#count = 0;
    this.#bytes = 0;
    this.#cells = Cells.most();
    this.#fresh = true;
  }

  #take(marks: Buffer, by: 1 | -1): void {
    const sum = this.#sum;
    const view = new DataView(marks.buffer, marks.byteOffset, marks.length);
    for (let at = 0; at < marks.length; at += markBytes) {
      for (let i = 0; i < words; i++) sum[i]! += by * view.getUint32(at + idBytes + 4 * i);
      const end = at + markBytes;
      this.#bytes += by * (view.getUint32(end - 8) * 2 ** 32 + view.getUint32(end - 4));
      this.#cells.toggle(marks, at, by);
      if (++this.#carried === mostCarried) this.#carry();
    }
    this.#count += by * markCount(marks);
  }

  /** Makes every word one of 32 bits. */
  #carry(): void {
    let over = 0;
    for (let i = words - 1; i >= 0; i--) {
      const value = this.#sum[i]! + over;
      over = Math.floor(value / 2 ** 32);
      this.#sum[i] = value - over * 2 ** 32;
    }
    this.#carried = 0;
  }

  /** All grains have to be counted again: the slice has outgrown its sketch, or was not what it said. */
  get failed(): boolean {
    return sketchCells(this.#count) > this.#cells.length || this.#count < 0 || this.#bytes < 0;
  }

  figures(): Figures {
    this.#carry();
    const sum = Buffer.alloc(sumBytes);
    for (let i = 0; i < words; i++) sum.writeUInt32BE(this.#sum[i]!, 4 * i);
    const due = sketchCells(this.#count);
    // One that has become too long is kept for a while, lest it has to be made again as soon as a few grains come back.
    const cells = this.#fresh || this.#cells.length >= 4 * due ? this.#cells.resized(due) : this.#cells;
    return { sum, count: this.#count, bytes: this.#bytes, sketch: cells.encode() };
  }
}
