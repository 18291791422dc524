/** The cells of a slice, for a comparison: those of its sketch, or more of them, computed from the ids of its grains. The same on both sides. */
import { setImmediate as breathe } from "node:timers/promises";
import type { Session } from "../database/database.ts";
import { prepared } from "../database/prepared.ts";
import type { ContentKey, SliceKey } from "../ids.ts";
import { type Pieces, ranged } from "../pieces.ts";
import { idPieces } from "./grain-lists.ts";
import { idBytes } from "./rules/hash.ts";
import { Cells, cellBytes } from "./rules/sketch.ts";

/** Ids that are added to all their cells in one piece: some milliseconds. */
const addedAtOnce = 2048;

/** The first `length` cells, if the slice's sketch has as many. */
export async function readSketch(session: Session, key: SliceKey, length: number): Promise<Cells | undefined> {
  const bytes = length * cellBytes;
  const row = await session.one<{ cells: Buffer }>(
    prepared("/* readSketch */ SELECT substring(sketch FROM 1 FOR $2) AS cells FROM slices WHERE slice_key = $1"),
    [key, bytes],
  );
  return row !== undefined && row.cells.length === bytes ? Cells.of(row.cells) : undefined;
}

/** The first `length` cells of what is under a content key, however many. */
export async function computeCells(session: Session, content: ContentKey, length: number): Promise<Cells> {
  const cells = new Cells(length);
  for await (const ids of idPieces(session, content)) await inTurns(addIds(cells, ids));
  return cells;
}

/** Adds ids, back to back, to cells. */
export const addIds = (cells: Cells, ids: Buffer): Pieces<void> =>
  ranged(ids.length / idBytes, addedAtOnce, (from, to) => {
    for (let at = from * idBytes; at < to * idBytes; at += idBytes) cells.toggle(ids, at, 1);
  });

/** Does long work, and lets others have their turn in between. */
async function inTurns<T>(work: Pieces<T>): Promise<T> {
  for (;;) {
    const piece = work.next();
    if (piece.done) return piece.value;
    await breathe();
  }
}
