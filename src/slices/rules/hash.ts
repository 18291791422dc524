/** The hash of a slice, and what tells grains apart (PROTOCOL.md, "Hash of a slice"). Pure; the only file that knows xxhash-wasm. */
import { createHash } from "node:crypto";
import xxhash from "xxhash-wasm";

const wasm = await xxhash();

/** Metadata of a slice: pairs in ascending order of the key's UTF-8 bytes. */
export type Metadata = readonly (readonly [key: string, value: string])[];

export const idBytes = 16;
export const digestBytes = 32;
/** An entry of a list: the id of a grain and the check of its digest. */
export const listEntryBytes = idBytes + 8;
/** The sum of a slice: the digests of its grains as numbers, modulo 2^256, big-endian. */
export const sumBytes = 32;

/** What the hash of a slice is computed from, besides its metadata. */
export interface Summed {
  /** {@link sumBytes}. */
  sum: Buffer;
  /** Grains. */
  count: number;
}

/** XXH64 with seed 0 over the sum, the count and the metadata, 16 lower-case hex digits. */
export function sliceHash({ sum, count }: Summed, metadata: Metadata): string {
  const number = Buffer.alloc(8);
  number.writeBigUInt64BE(BigInt(count));
  // At once: a call for each of thousands of texts would cost more than the hash.
  const texts = metadata.flat().flatMap((text) => [lengthOf(text), Buffer.from(text)]);
  return wasm
    .h64Raw(Buffer.concat([sum, number, ...texts]))
    .toString(16)
    .padStart(16, "0");
}

function lengthOf(text: string): Buffer {
  const bytes = Buffer.allocUnsafe(4);
  bytes.writeUInt32BE(Buffer.byteLength(text));
  return bytes;
}

/** The hash of a slice without grains and metadata. */
export const emptyHash = sliceHash({ sum: Buffer.alloc(sumBytes), count: 0 }, []);

/** XXH64 with seed 0 of an id, or of a digest. */
export const xxh64 = (bytes: Uint8Array): bigint => wasm.h64Raw(bytes);

/** The Go reference's hash of a slice: SHA-1 over the ids of its grains, ascending, then keys and values, with nothing in between. */
export class ReferenceHasher {
  readonly #sha = createHash("sha1");
  #empty = true;

  /** @param ids 16 bytes each, which follow those that came before. */
  add(ids: Buffer): void {
    this.#sha.update(ids);
    this.#empty &&= ids.length === 0;
  }

  /** @returns lower-case hex; "" for a slice with neither grains nor metadata. */
  finish(metadata: Metadata): string {
    this.#sha.update(metadata.flat().join(""));
    return this.#empty && metadata.length === 0 ? "" : this.#sha.digest("hex");
  }
}

/** Metadata in the order that the hash wants, whatever order it came in. */
export function sortMetadata(pairs: Iterable<readonly [string, string]>): Metadata {
  return Array.from(pairs, (pair) => ({ pair, bytes: Buffer.from(pair[0]) }))
    .sort((a, b) => Buffer.compare(a.bytes, b.bytes))
    .map(({ pair }) => pair);
}
