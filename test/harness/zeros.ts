/** Gzip that unfolds to a thousand times its size. */
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { createGzip } from "node:zlib";

/** So many megabytes of zeros, in about a thousandth of the bytes. */
export function zeros(megabytes: number): Promise<Buffer> {
  const piece = Buffer.alloc(1024 * 1024);
  return buffer(Readable.from(Array.from({ length: megabytes }, () => piece)).pipe(createGzip()));
}
