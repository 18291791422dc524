/** Slices and grains: the words of the domain as types, and what makes a value acceptable. Pure. */
import type { CompanyId, ContentKey, SliceId, SliceKey } from "../../ids.ts";

/** A slice as it is stored. */
export interface Slice {
  key: SliceKey;
  contentKey: ContentKey;
  /** Who owns the data: ourselves on a primary, the primary on a secondary. */
  companyId: CompanyId;
  id: SliceId;
  name: string;
  type: string;
  /** False while its owner is changing it: partners then defer it. */
  allowSync: boolean;
  /** XXH64 over what it holds, 16 hex digits (PROTOCOL.md, "Hash of a slice"); "" for a copy that was never synced. */
  hash: string;
  /** The Go reference's SHA-1 (`content_hash` on REST), where somebody has asked for it since the slice was changed (reference-hash.ts). */
  referenceHash: string | null;
  /** Grains. */
  count: number;
  /** Stored payload bytes. */
  bytes: number;
  contentDate: Date | null;
  createdAt: Date;
  updatedAt: Date;
}

export const sliceTypes = [
  "aces-file",
  "aces-items",
  "asset-files",
  "partspro-file",
  "pies-file",
  "pies-items",
  "pies-marketcopy",
  "pies-pricesheet",
  "aces-app-elements",
  "aces-asset-elements",
  "aces-digitalfileinfo-elements",
  "napa-interchange-file",
  "pies-item-elements",
  "pies-pricesheets-element",
  "pies-marketingcopy-element",
  "asset-archive",
  "asset-file",
  "binary-blob",
  "xml-file",
  "text-file",
  "key-values",
] as const;

export const encodings = ["raw", "b64", "z64", "a85", "z85"] as const;
export type Encoding = (typeof encodings)[number];

/** The key of the single grain of a level-1 slice. */
export const levelOneKey = "level-1";

/** Payloads up to this many bytes are stored in the grain's row; larger ones as rows of chunks of this size. */
export const chunkBytes = 1024 * 1024;

/** Longest key and source of a grain, in UTF-8 bytes. */
export const maxKeyBytes = 1024;
/** Most pairs of metadata that a slice has, and most UTF-8 bytes of their keys and values together: a partner takes it in one message. */
export const maxMetadataPairs = 10_000;
export const maxMetadataBytes = 1024 * 1024;
/** Why a key or source cannot be one of a grain's, or undefined. Keys are exact bytes; NUL cannot be stored. */
export function grainTextProblem(text: string, minBytes: number): string | undefined {
  const bytes = Buffer.byteLength(text);
  if (bytes < minBytes) return "is empty";
  if (bytes > maxKeyBytes) return `is longer than ${maxKeyBytes} bytes`;
  if (text.includes("\0")) return "has a NUL character";
  if (!text.isWellFormed()) return "is not valid Unicode";
  return undefined;
}
