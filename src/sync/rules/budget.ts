/** How much of this side's space a primary may take, in numbers. Pure. */
import type { Due, StagedSoFar } from "../protocol/secondary-port.ts";

/** Bytes that a grain costs besides its payload, key and source: its row and what indexes have of it. */
export const rowBytes = 300;
/** The most that a grain costs besides its payload: key and source may have 1,024 bytes each. */
export const mostRowBytes = rowBytes + 2048;
/** The least: what is certainly taken by a grain that is stored. */
export const leastRowBytes = 200;

/** Payloads beyond about this many bytes lie outside of their rows, and stay where they are when these are moved. */
const inlineBytes = 2000;

/** What a primary may have here where the disk cannot be seen: more than any catalogue takes. */
export const unseenShare = 100e9;
/**
 * What it may have of the space that there is for grains. What the others have here is left to them twice over, so that all of it can be
 * replaced; a quarter is left to those who may come, and half of the space is never too much.
 *
 * @param others bytes that other primaries have here.
 */
export function shareOf(space: number, others: number): number {
  const share = Math.min(Math.max(space - 2 * others, space / 2), (space * 3) / 4);
  return Math.max(0, Math.floor(share));
}

/** What of the grains that are due is not staged yet. */
export const leftOf = (due: Due, soFar: StagedSoFar): Due => {
  const begun = soFar.large === null ? 0 : 1;
  return {
    grains: due.grains - soFar.grains + begun,
    // About how many bytes are due is known, not exactly.
    bytes: Math.max(0, due.bytes - soFar.bytes + (soFar.large?.left ?? 0)),
  };
};

/** What grains count in a primary's budget, in bytes. */
export const costOf = ({ grains, bytes }: Due): number => bytes + rowBytes * grains;

/**
 * Bytes of disk that a slice takes until it is applied, besides the database's log: its new grains, and once more the rows that are moved
 * to put new and kept ones together, which are never more than either of them.
 *
 * @param kept grains that the slice has, at most.
 */
export function diskBytes({ grains, bytes }: Due, kept: number): number {
  const moved = Math.min(kept, grains);
  const row = rowBytes + Math.min(inlineBytes, grains === 0 ? 0 : bytes / grains);
  // Payloads outside of rows lie in pieces, with about a twentieth for their headers and index.
  return Math.ceil(1.05 * bytes + rowBytes * grains + moved * row);
}

/** What one primary has here. It is counted up in a run, never down: how much it is exactly is measured only before something is refused. */
export class Budget {
  #held: number;

  /** @param held bytes at most. */
  constructor(
    readonly limit: number,
    held: number,
  ) {
    this.#held = held;
  }

  get held(): number {
    return this.#held;
  }

  add(bytes: number): void {
    this.#held += bytes;
  }

  /** So many bytes it is. */
  measured(bytes: number): void {
    this.#held = bytes;
  }

  /** By how many bytes `more` would be too many; 0 when they are not. */
  lacks(more: number): number {
    return Math.max(0, this.#held + more - this.limit);
  }
}
