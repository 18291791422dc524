/** Free space is looked at before and while a file is written: some is never taken, which others on that disk need. */
import { statfs } from "node:fs/promises";
import { FileTrouble, storage } from "./file-trouble.ts";

const everyBytes = 1024 * 1024;
const mostReserved = 256 * 1024 * 1024;

/** Bytes that a file system of `total` bytes keeps: a twentieth, 256 MiB at most. */
const reserveOf = (total: number): number => Math.min(mostReserved, total / 20);

/** @throws `storage` when `bytes` more in `directory` would leave less than the reserve. */
async function requireRoom(directory: string, bytes: number): Promise<void> {
  const { blocks, bavail, bsize } = await storage(directory, statfs(directory));
  // Some file systems do not say.
  if (blocks === 0 || bavail * bsize - bytes >= reserveOf(blocks * bsize)) return;
  throw new FileTrouble(`there is too little free space in ${directory}`, {
    hint: "Make room there, or name another directory; a twentieth of the disk, 256 MiB at most, is left free.",
  });
}

/** The same pieces, as long as there is room for them. @param least bytes that they have at least. */
export async function* asRoomPermits(
  directory: string,
  pieces: AsyncIterable<Buffer>,
  least: number,
): AsyncGenerator<Buffer> {
  await requireRoom(directory, least);
  let unlooked = 0;
  for await (const piece of pieces) {
    unlooked += piece.length;
    if (unlooked >= everyBytes) {
      await requireRoom(directory, unlooked);
      unlooked = 0;
    }
    yield piece;
  }
}
