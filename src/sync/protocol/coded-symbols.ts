/**
 * Set reconciliation by a rateless invertible Bloom lookup table (Yang, Gilad, Alizadeh: Practical Rateless Set
 * Reconciliation, SIGCOMM 2024): it costs in proportion to the difference of two sets, not to their size. The sets are those of the ids
 * of grains, the cells those of slices/rules/sketch.ts. Pure.
 */

import { type Pieces, ranged } from "../../pieces.ts";
import { idBytes } from "../../slices/rules/hash.ts";
import { Cells, Walk } from "../../slices/rules/sketch.ts";
import { areApart, ascending, IdList } from "./id-lists.ts";

/** What is done in one piece, some milliseconds each: cells that are gone over, cells that are looked into, cells that are peeled. */
const seenAtOnce = 32_768;
const lookedIntoAtOnce = 8192;
const peeledAtOnce = 256;

/** Ids that are in one set and not in the other, ascending, each of them once. */
export interface IdDifference {
  onlyRemote: Buffer;
  onlyLocal: Buffer;
}

/**
 * The difference of two sets from as many first cells of each; undefined when these are too few. No more ids are peeled than there
 * are cells, and none twice, so that cells made up by a hostile peer cannot keep it busy.
 */
export function* peel(remote: Cells, local: Cells): Pieces<IdDifference | undefined> {
  const cells = yield* subtract(remote, local);
  const found = { remote: new IdList(), local: new IdList() };
  const id = Buffer.alloc(idBytes);
  const other = Buffer.alloc(idBytes);
  const queue: number[] = [];
  yield* ranged(cells.length, lookedIntoAtOnce, (from, to) => {
    for (let i = from; i < to; i++) if (cells.holdsOne(i, id)) queue.push(i);
  });
  for (let i = queue.pop(), turns = 1, peeled = 0; i !== undefined; i = queue.pop(), turns++) {
    if (turns % peeledAtOnce === 0) yield;
    if (!cells.holdsOne(i, id)) continue;
    if (++peeled > cells.length) return undefined;
    const side = cells.counts[i] === 1 ? "remote" : "local";
    found[side].add(id, 0);
    cells.toggle(id, 0, side === "remote" ? -1 : 1);
    const walk = new Walk(id, 0);
    for (let n = 0; n < cells.length; n = walk.next()) if (cells.holdsOne(n, other)) queue.push(n);
  }
  let left = 0;
  yield* ranged(cells.length, seenAtOnce, (from, to) => {
    for (let i = from; i < to; i++) left |= cells.counts[i]! | cells.checks[i]!;
    for (let i = 4 * from; i < 4 * to; i++) left |= cells.ids[i]!;
  });
  if (left !== 0) return undefined;
  const onlyRemote = yield* ascending(yield* found.remote.all());
  const onlyLocal = yield* ascending(yield* found.local.all());
  return (yield* areApart(onlyRemote, onlyLocal)) ? { onlyRemote, onlyLocal } : undefined;
}

/**
 * How many ids differ, roughly: the counts of the cells differ by a sum of as many signs, so the variance tells. Within
 * 0.7 to 1.5 of the truth for 128 cells (measured).
 *
 * @param surplus how many more ids the remote set has.
 */
export function* estimateDifference(remote: Cells, local: Cells, surplus: number): Pieces<number> {
  const cells = yield* subtract(remote, local);
  let sum = 0;
  yield* ranged(cells.length, seenAtOnce, (from, to) => {
    for (let i = Math.max(1, from); i < to; i++) {
      const p = 1 / (1 + i / 2);
      const signed = (cells.counts[i]! << 16) >> 16;
      sum += (signed - surplus * p) ** 2 / (p * (1 - p));
    }
  });
  return Math.max(Math.abs(surplus), Math.ceil(sum / Math.max(1, cells.length - 1)));
}

function* subtract(remote: Cells, local: Cells): Pieces<Cells> {
  const cells = new Cells(Math.min(remote.length, local.length));
  yield* ranged(cells.length, seenAtOnce, (from, to) => {
    for (let i = 4 * from; i < 4 * to; i++) cells.ids[i] = remote.ids[i]! ^ local.ids[i]!;
    for (let i = from; i < to; i++) {
      cells.checks[i] = remote.checks[i]! ^ local.checks[i]!;
      cells.counts[i] = remote.counts[i]! - local.counts[i]!;
    }
  });
  return cells;
}
