/** Reading the next page of a slice while the session sends this one, in memory that is used again and again. */
import { chunkBytes } from "../slices/slice.ts";
import { copyBody } from "../slices/tuples.ts";
import type { Read } from "./primary-port.ts";

/** Bytes of grains that one read aims at: what a partner can make the primary hold at once. */
export const readBytes = 2 * chunkBytes;

/** Memory for a page of grains, used again and again: to leave it to the garbage collector costs more than all else that a primary does. */
export class Page {
  #bytes = Buffer.allocUnsafeSlow(readBytes);

  /** Takes in the body of a COPY, in more memory if it takes that. */
  async fill(rows: AsyncIterable<Buffer>): Promise<Buffer> {
    let size = 0;
    for await (const piece of copyBody(rows)) {
      if (size + piece.length > this.#bytes.length) {
        const larger = Buffer.allocUnsafeSlow(Math.max(size + piece.length, this.#bytes.length * 2));
        this.#bytes.copy(larger, 0, 0, size);
        this.#bytes = larger;
      }
      size += piece.copy(this.#bytes, size);
    }
    return this.#bytes.subarray(0, size);
  }
}

/** A read into the memory of a page, known by its key. */
export interface Request<T> {
  key: readonly unknown[];
  read(page: Page): Promise<Read<T>>;
}

/** One kind of reads, one after another: a page holds what was read until the read after the next one. */
export class ReadAhead<T> {
  readonly #pages: [Page, Page] = [new Page(), new Page()];
  #ahead: { key: Request<T>["key"]; result: Promise<Read<T>> } | undefined;

  /** Reads what is asked for, and already what `nextAfter` says will be asked for next. Rights are looked at again before anything is sent. */
  async read(request: Request<T>, nextAfter: (got: Read<T>) => Request<T> | undefined): Promise<Read<T>> {
    let ahead = this.#ahead;
    this.#ahead = undefined;
    if (ahead === undefined || !ahead.key.every((part, i) => part === request.key[i])) {
      // One that nobody wants any more has to be over before its memory is used again.
      await ahead?.result.catch(() => {});
      ahead = this.#begin(request);
    }
    const got = await ahead.result;
    const next = nextAfter(got);
    if (next !== undefined) {
      this.#ahead = this.#begin(next);
      this.#ahead.result.catch(() => {});
    }
    return got;
  }

  #begin({ key, read }: Request<T>): { key: Request<T>["key"]; result: Promise<Read<T>> } {
    this.#pages.reverse();
    return { key, result: read(this.#pages[0]) };
  }
}
