/** Comparing two sets of grains. Pure: lists in, ids out. */
import { idBytes, listEntryBytes } from "../../slices/rules/hash.ts";
import { violation } from "./messages.ts";
import { joined, type Pieces, ranged } from "./pieces.ts";

/** What turns the local set into the primary's: ids, 16 bytes each, ascending. */
export interface Difference {
  /** Grains to fetch. */
  wanted: Buffer;
  /** Grains to delete. */
  removed: Buffer;
}

/** Entries that are compared in one piece: some milliseconds. */
const comparedAtOnce = 32_768;

/**
 * The difference of the local list of (id, symbol) and the primary's, which is compared as it comes: of that, only what is wanted is held.
 * A grain whose symbol differs was damaged on one side: it is deleted and fetched.
 */
export class ListComparison {
  readonly #local: Buffer;
  readonly #wanted = new IdList();
  readonly #removed = new IdList();
  #here = 0;
  readonly #order = new IdOrder();

  /** @param local ascending by id, as the primary's must be. */
  constructor(local: Buffer) {
    this.#local = local;
  }

  /** Compares the next entries of the primary's list. @throws `protocol` when it does not ascend. */
  *take(remote: Buffer): Pieces<void> {
    for (let at = 0, steps = 1; at < remote.length; at += listEntryBytes) {
      if (!this.#order.follows(remote, at)) throw violation("the primary's list of grains does not ascend");
      for (; this.#isBefore(remote, at); this.#here += listEntryBytes, steps++) {
        this.#removed.add(this.#local, this.#here);
        if (steps % comparedAtOnce === 0) yield;
      }
      this.#place(remote, at);
      if (steps++ % comparedAtOnce === 0) yield;
    }
  }

  /** Nothing more comes: whatever is left of the local list is not at the primary. */
  *end(): Pieces<Difference> {
    const left = this.#local.subarray(this.#here);
    yield* ranged(left.length / listEntryBytes, comparedAtOnce, (from, to) => {
      for (let at = from * listEntryBytes; at < to * listEntryBytes; at += listEntryBytes) this.#removed.add(left, at);
    });
    return { wanted: yield* this.#wanted.all(), removed: yield* this.#removed.all() };
  }

  /** Whether the next local grain is not at the primary, whose next is at `at`. */
  #isBefore(remote: Buffer, at: number): boolean {
    return this.#here < this.#local.length && compareIds(this.#local, this.#here, remote, at) < 0;
  }

  /** The primary's grain at `at`, before which nothing local is left. */
  #place(remote: Buffer, at: number): void {
    const local = this.#local;
    if (this.#here < local.length && compareIds(local, this.#here, remote, at) === 0) {
      this.#here += listEntryBytes;
      if (differ(local, this.#here - listEntryBytes, remote, at, idBytes, listEntryBytes) === 0) return;
      this.#removed.add(local, this.#here - listEntryBytes);
    }
    this.#wanted.add(remote, at);
  }
}

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
  yield* ranged(list.length / listEntryBytes, comparedAtOnce, (from, to) => {
    for (let n = from; n < to; n++)
      for (let i = 0; i < idBytes; i++) ids[n * idBytes + i] = list[n * listEntryBytes + i]!;
  });
  return ids;
}

const compareIds = (a: Buffer, atA: number, b: Buffer, atB: number): number => differ(a, atA, b, atB, 0, idBytes);

/** Which of two entries is greater in the bytes `from` to before `to`: by hand, as above. */
function differ(a: Buffer, atA: number, b: Buffer, atB: number, from: number, to: number): number {
  for (let i = from; i < to; i++) {
    const difference = a[atA + i]! - b[atB + i]!;
    if (difference !== 0) return difference;
  }
  return 0;
}

/** How many ids a buffer of ids holds. */
export const idCount = (ids: Buffer): number => ids.length / idBytes;

/**
 * Whether applying would lose so much that an operator must allow it: a slice that held grains would be empty, or one of more
 * than 100 would shrink by more than half. Replacing grains is no loss.
 */
export function isDrop(before: number, after: number): boolean {
  if (before === 0) return false;
  return after === 0 || (before > 100 && (before - after) * 2 > before);
}

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
