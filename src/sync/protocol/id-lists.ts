/** Ids of grains, 16 bytes each, back to back: putting them together, counting them, and their order. Pure. */

import { joined, type Pieces, ranged } from "../../pieces.ts";
import { idBytes, listEntryBytes } from "../../slices/rules/hash.ts";

/** Ids that are copied in one piece: some milliseconds. */
const copiedAtOnce = 32_768;

/** The order of list entries that come in pieces. */
export class IdOrder {
  #last: Buffer | undefined;

  /** Whether the id of the entry at `at` is greater than the one before it, in this piece or in the one before. */
  follows(entries: Buffer, at: number): boolean {
    const last = this.#last;
    if (at + listEntryBytes === entries.length) this.#last = Buffer.from(entries.subarray(at));
    if (at > 0) return compareIds(entries, at - listEntryBytes, entries, at) < 0;
    return last === undefined || compareIds(last, 0, entries, at) < 0;
  }
}

/** Ids, 16 bytes each, that are put together one by one. */
export class IdList {
  readonly #full: Buffer[] = [];
  #current = Buffer.allocUnsafe(idBytes * 64);
  #used = 0;

  /** Adds the id that is at `at` in these bytes. */
  add(from: Buffer, at: number): void {
    if (this.#used === this.#current.length) {
      this.#full.push(this.#current);
      this.#current = Buffer.allocUnsafe(Math.min(this.#current.length * 2, idBytes * 65_536));
      this.#used = 0;
    }
    // By hand, since a call for each of a million costs more than the copy.
    for (let i = 0; i < idBytes; i++) this.#current[this.#used + i] = from[at + i]!;
    this.#used += idBytes;
  }

  /** All of them; nothing is added after that. */
  all(): Pieces<Buffer> {
    return joined([...this.#full.splice(0), this.#current.subarray(0, this.#used)]);
  }
}

/** The ids of list entries. */
export function* idsOf(list: Buffer): Pieces<Buffer> {
  const ids = Buffer.allocUnsafe((list.length / listEntryBytes) * idBytes);
  yield* ranged(list.length / listEntryBytes, copiedAtOnce, (from, to) => {
    for (let n = from; n < to; n++)
      for (let i = 0; i < idBytes; i++) ids[n * idBytes + i] = list[n * listEntryBytes + i]!;
  });
  return ids;
}

/** Ids in ascending order, which costs the same whatever ids a peer has chosen: byte by byte, the last one first. */
export function* ascending(ids: Buffer): Pieces<Buffer> {
  const count = idCount(ids);
  let from = ids;
  let to: Buffer = Buffer.allocUnsafe(ids.length);
  for (let byte = idBytes - 1; byte >= 0; byte--) {
    const [source, sink] = [from, to];
    const next = new Uint32Array(257);
    yield* ranged(count, copiedAtOnce, (first, end) => {
      for (let i = first; i < end; i++) next[source[i * idBytes + byte]! + 1]!++;
    });
    for (let i = 1; i <= 256; i++) next[i]! += next[i - 1]!;
    yield* ranged(count, copiedAtOnce / 2, (first, end) => {
      for (let i = first; i < end; i++) {
        const at = next[source[i * idBytes + byte]!]!++ * idBytes;
        for (let n = 0; n < idBytes; n++) sink[at + n] = source[i * idBytes + n]!;
      }
    });
    [from, to] = [sink, byte === idBytes - 1 ? Buffer.allocUnsafe(ids.length) : source];
  }
  return from;
}

/** Whether no id is among these twice; both ascend. */
export function* areApart(one: Buffer, other: Buffer): Pieces<boolean> {
  let apart = true;
  for (const ids of [one, other]) {
    yield* ranged(idCount(ids), copiedAtOnce, (from, to) => {
      for (let at = Math.max(1, from) * idBytes; at < to * idBytes && apart; at += idBytes)
        apart = compareIds(ids, at - idBytes, ids, at) !== 0;
    });
  }
  let there = 0;
  yield* ranged(idCount(one), copiedAtOnce, (from, to) => {
    for (let at = from * idBytes; at < to * idBytes && apart; at += idBytes) {
      while (there < other.length && compareIds(other, there, one, at) < 0) there += idBytes;
      apart = there >= other.length || compareIds(other, there, one, at) !== 0;
    }
  });
  return apart;
}

/** The order of the ids that are at these places. */
export const compareIds = (a: Buffer, atA: number, b: Buffer, atB: number): number =>
  differ(a, atA, b, atB, 0, idBytes);

/** Which of two entries is greater in the bytes `from` to before `to`: by hand, as above. */
export function differ(a: Buffer, atA: number, b: Buffer, atB: number, from: number, to: number): number {
  for (let i = from; i < to; i++) {
    const difference = a[atA + i]! - b[atB + i]!;
    if (difference !== 0) return difference;
  }
  return 0;
}

/** How many ids a buffer of ids holds. */
export const idCount = (ids: Buffer): number => ids.length / idBytes;

/** Of ascending ids those beyond `after`: grains stream in order of id, so what is there already is a beginning. */
export function idsBeyond(ids: Buffer, after: Buffer | null): Buffer {
  if (after === null) return ids;
  let low = 0;
  let high = idCount(ids);
  while (low < high) {
    const middle = (low + high) >> 1;
    if (ids.compare(after, 0, idBytes, middle * idBytes, (middle + 1) * idBytes) <= 0) low = middle + 1;
    else high = middle;
  }
  return ids.subarray(low * idBytes);
}
