/** Payloads over 1 MiB are stored in chunks. */
import { chunkBytes } from "../rules/slice.ts";

/** The same bytes in pieces of exactly 1 MiB, but for the last. */
export async function* inChunks(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let held: Buffer[] = [];
  let size = 0;
  for await (let piece of source) {
    while (size + piece.length >= chunkBytes) {
      const take = chunkBytes - size;
      yield Buffer.concat([...held, piece.subarray(0, take)], chunkBytes);
      held = [];
      size = 0;
      piece = piece.subarray(take);
    }
    if (piece.length > 0) {
      held.push(piece);
      size += piece.length;
    }
  }
  if (size > 0) yield Buffer.concat(held, size);
}
