/** The hash of a slice and the symbol of a grain (PROTOCOL.md, "Hash of a slice"). Pure; the only file that knows xxhash-wasm. */
import { createHash } from "node:crypto";
import xxhash from "xxhash-wasm";
import { uuidText } from "../../ids.ts";
import { gather } from "./tuples.ts";

const wasm = await xxhash();

/** Metadata of a slice: pairs in ascending order of the key's UTF-8 bytes. */
export type Metadata = readonly (readonly [key: string, value: string])[];

export const idBytes = 16;
export const digestBytes = 32;
export const symbolBytes = 8;
/** An entry of a list: the id and the symbol of a grain. */
export const listEntryBytes = idBytes + symbolBytes;
/** An id and a digest, each behind its length (u32, big-endian): the unit that the slice hash runs over. */
export const hashUnitBytes = 4 + idBytes + 4 + digestBytes;

export interface SliceDigest {
  /** XXH64 with seed 0, 16 lower-case hex digits. */
  hash: string;
  /** The Go reference's SHA-1, lower-case hex; "" for a slice with neither grains nor metadata. */
  contentHash: string;
  count: number;
}

/** Computes both hashes of a slice in one pass over its grains, in ascending order of id. */
export class SliceHasher {
  readonly #xxh = wasm.create64();
  readonly #sha = createHash("sha1");
  #count = 0;
  #last = "";

  /** Adds grains: `units` holds whole hash units ({@link hashUnitBytes} each). @throws RangeError when ids do not ascend. */
  add(units: Buffer): void {
    const ids = gather(units, hashUnitBytes, 4, 4 + idBytes);
    if (ids.length > 0) {
      this.#checkOrder(uuidText(ids), this.#last);
      for (let at = idBytes; at < ids.length; at += idBytes) {
        if (!ascends(ids, at)) this.#checkOrder(uuidText(ids.subarray(at)), uuidText(ids.subarray(at - idBytes)));
      }
      this.#last = uuidText(ids.subarray(ids.length - idBytes));
    }
    this.#xxh.update(units);
    this.#sha.update(ids);
    this.#count += units.length / hashUnitBytes;
  }

  #checkOrder(id: string, previous: string): void {
    if (id <= previous) throw new RangeError(`grain ids do not ascend: ${id} after ${previous}`);
  }

  /** Adds the metadata, last, and returns both hashes. */
  finish(metadata: Metadata): SliceDigest {
    // At once: a call for each of thousands of texts would cost more than the hash.
    const texts = metadata.flat().map((text) => Buffer.from(text));
    this.#xxh.update(Buffer.concat(texts.flatMap((bytes) => [lengthPrefix(bytes.length), bytes])));
    this.#sha.update(Buffer.concat(texts));
    const empty = this.#count === 0 && metadata.length === 0;
    return {
      hash: this.#xxh.digest().toString(16).padStart(16, "0"),
      contentHash: empty ? "" : this.#sha.digest("hex"),
      count: this.#count,
    };
  }
}

/** Whether the id at `at` is greater than the one before it: by hand, since a call per grain would cost more than the hash. */
function ascends(ids: Buffer, at: number): boolean {
  for (let i = at; i < at + idBytes; i++) {
    const difference = ids[i]! - ids[i - idBytes]!;
    if (difference !== 0) return difference > 0;
  }
  return false;
}

function lengthPrefix(length: number): Buffer {
  const bytes = Buffer.allocUnsafe(4);
  bytes.writeUInt32BE(length);
  return bytes;
}

/** The hash of a slice without grains and metadata. */
export const emptyHash = new SliceHasher().finish([]).hash;

/** The symbol of a grain: XXH64 with seed 0 over the 16 bytes of its id and the 32 of its digest. */
export const grainSymbol = (idAndDigest: Uint8Array): bigint => wasm.h64Raw(idAndDigest);

/** Metadata in the order that the hash wants, whatever order it came in. */
export function sortMetadata(pairs: Iterable<readonly [string, string]>): Metadata {
  return Array.from(pairs, (pair) => ({ pair, bytes: Buffer.from(pair[0]) }))
    .sort((a, b) => Buffer.compare(a.bytes, b.bytes))
    .map(({ pair }) => pair);
}
