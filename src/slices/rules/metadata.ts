/** A slice's metadata as a whole: how much it may be, and how it is edited. Pure. */
import { SandpiperError } from "../../errors.ts";
import { type Metadata, sortMetadata } from "./hash.ts";
import { maxMetadataBytes, maxMetadataPairs } from "./slice.ts";

type Pair = Metadata[number];

const bytesOf = ([key, value]: Pair): number => Buffer.byteLength(key) + Buffer.byteLength(value);

/** What of so many pairs and bytes (UTF-8, keys and values) is more than a slice may have, in words; undefined when nothing is. */
function excess(pairs: number, bytes: number): string | undefined {
  if (pairs > maxMetadataPairs) return `${pairs} pairs of metadata, more than the ${maxMetadataPairs} that it may have`;
  if (bytes > maxMetadataBytes)
    return `${bytes} bytes of metadata, keys and values together, more than the ${maxMetadataBytes} that it may have`;
  return undefined;
}

/** Why metadata is too much for a partner to take, as what the slice "would have" or "has"; undefined when it is not. */
export function metadataExcess(metadata: Metadata): string | undefined {
  let bytes = 0;
  for (const pair of metadata) bytes += bytesOf(pair);
  return excess(metadata.length, bytes);
}

const tooMuch = (what: string) =>
  new SandpiperError("limit", `the slice would have ${what}`, {
    hint: "Nothing was changed. Metadata is for a few facts about the slice: publish data as grains.",
  });

/** @throws `usage` for a key or value that cannot be stored or is too long (200 characters a key, 10,000 a value). */
function checkPair([key, value]: Pair): void {
  const bad = (what: string) =>
    new SandpiperError("usage", `metadata key ${JSON.stringify(key.slice(0, 200))}: ${what}`, {
      hint: "Give --meta key=value.",
    });
  if (key === "" || key.length > 200) throw bad("must have 1 to 200 characters");
  if (value.length > 10_000) throw bad("its value is longer than 10,000 characters");
  if (/\0/.test(key + value) || !(key + value).isWellFormed()) throw bad("has characters that cannot be stored");
}

/** @throws `usage` for a pair that cannot be stored or is too long, `limit` for too many pairs, or too much in all. */
export function checkMetadata(metadata: Metadata): void {
  const what = metadataExcess(metadata);
  if (what !== undefined) throw tooMuch(what);
  for (const pair of metadata) checkPair(pair);
}

/** Metadata that is edited pair by pair, each at the cost of that pair. */
export class MetadataEdit {
  readonly #pairs: Map<string, string>;
  #bytes = 0;

  /** @param before what the slice has. */
  constructor(before: Metadata) {
    this.#pairs = new Map(before);
    for (const pair of before) this.#bytes += bytesOf(pair);
  }

  /**
   * Sets pairs, or removes those that are null.
   *
   * @throws as {@link checkMetadata}; but a slice that has too much may be made smaller step by step.
   */
  take(edits: Iterable<readonly [key: string, value: string | null]>): void {
    const [pairs, bytes] = [this.#pairs.size, this.#bytes];
    for (const [key, value] of edits) {
      const old = this.#pairs.get(key);
      if (old !== undefined) this.#bytes -= bytesOf([key, old]);
      if (value === null) this.#pairs.delete(key);
      else {
        checkPair([key, value]);
        this.#pairs.set(key, value);
        this.#bytes += bytesOf([key, value]);
      }
    }
    const what = excess(this.#pairs.size, this.#bytes);
    if (what !== undefined && (this.#pairs.size > pairs || this.#bytes > bytes)) throw tooMuch(what);
  }

  /** What it has become. @throws `limit` when that is still too much. */
  whole(): Metadata {
    const what = excess(this.#pairs.size, this.#bytes);
    if (what !== undefined) throw tooMuch(what);
    return sortMetadata(this.#pairs);
  }
}
