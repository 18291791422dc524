/** Comparing two sets of grains. Pure: lists in, ids out. */
import { idBytes, listEntryBytes } from "./frames.ts";
import { violation } from "./messages.ts";

/** What turns the local set into the primary's: ids, 16 bytes each, ascending. */
export interface Difference {
  /** Grains to fetch. */
  wanted: Buffer;
  /** Grains to delete. */
  removed: Buffer;
}

/**
 * The difference of two lists of (id, symbol), ascending by id. A grain whose symbol differs was damaged on one
 * side: it is deleted and fetched.
 *
 * @throws `protocol` when the primary's list does not ascend.
 */
export function compareLists(local: Buffer, remote: Buffer): Difference {
  const wanted: Buffer[] = [];
  const removed: Buffer[] = [];
  const idAt = (list: Buffer, at: number) => list.subarray(at, at + idBytes);
  let here = 0;
  let there = 0;
  while (here < local.length || there < remote.length) {
    if (there > 0 && there < remote.length && compareIds(remote, there - listEntryBytes, remote, there) >= 0) {
      throw violation("the primary's list of grains does not ascend");
    }
    const order = here >= local.length ? 1 : there >= remote.length ? -1 : compareIds(local, here, remote, there);
    if (order < 0) {
      removed.push(idAt(local, here));
      here += listEntryBytes;
    } else if (order > 0) {
      wanted.push(idAt(remote, there));
      there += listEntryBytes;
    } else {
      if (local.compare(remote, there, there + listEntryBytes, here, here + listEntryBytes) !== 0) {
        removed.push(idAt(local, here));
        wanted.push(idAt(remote, there));
      }
      here += listEntryBytes;
      there += listEntryBytes;
    }
  }
  return { wanted: Buffer.concat(wanted), removed: Buffer.concat(removed) };
}

function compareIds(a: Buffer, atA: number, b: Buffer, atB: number): number {
  return a.compare(b, atB, atB + idBytes, atA, atA + idBytes);
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
