/** Comparing the lists of two sets of grains: entries of id and check in, ids out. Pure. */

import { type Pieces, ranged } from "../../pieces.ts";
import { idBytes, listEntryBytes } from "../../slices/rules/hash.ts";
import { refuse } from "./guards.ts";
import { compareIds, differ, IdList, IdOrder } from "./id-lists.ts";
import { violation } from "./messages.ts";

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
 * The difference of the local list of (id, check) and the primary's, which is compared as it comes: of that, only what is wanted is held.
 * A grain whose check differs was damaged on one side: it is deleted and fetched.
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
    for (let at = 0, compared = 1; at < remote.length; at += listEntryBytes) {
      if (!this.#order.follows(remote, at))
        refuse("list.order", violation("the primary's list of grains does not ascend"));
      for (; this.#isBefore(remote, at); this.#here += listEntryBytes, compared++) {
        this.#removed.add(this.#local, this.#here);
        if (compared % comparedAtOnce === 0) yield;
      }
      this.#place(remote, at);
      if (compared++ % comparedAtOnce === 0) yield;
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
