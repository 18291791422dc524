/** Whether two files have the same bytes, however large they are. */
import { type FileHandle, open } from "node:fs/promises";

const pieceBytes = 1 << 20;

export async function sameBytes(first: string, second: string): Promise<boolean> {
  const files: FileHandle[] = [];
  try {
    for (const path of [first, second]) files.push(await open(path));
    const [a, b] = files as [FileHandle, FileHandle];
    const [left, right] = [Buffer.alloc(pieceBytes), Buffer.alloc(pieceBytes)];
    for (let position = 0; ; ) {
      const { bytesRead } = await a.read(left, 0, pieceBytes, position);
      // At the end of the one, the other must have no byte more.
      const other = await b.read(right, 0, Math.max(bytesRead, 1), position);
      if (bytesRead !== other.bytesRead) return false;
      if (bytesRead === 0) return true;
      if (!left.subarray(0, bytesRead).equals(right.subarray(0, bytesRead))) return false;
      position += bytesRead;
    }
  } finally {
    for (const file of files) await file.close();
  }
}
