/** Slices, grains and their ids: the words of the domain as types, and what makes a value acceptable. Pure. */
import { unfitForName } from "../../characters.ts";
import { SandpiperError } from "../../errors.ts";

declare const brand: unique symbol;
type Branded<Of, Name extends string> = Of & { readonly [brand]: Name };

export type CompanyId = Branded<string, "CompanyId">;
export type SliceId = Branded<string, "SliceId">;
/** Our own number for a slice: a peer never sees or chooses it. */
export type SliceKey = Branded<number, "SliceKey">;
/** What a slice's grains are filed under. A new copy of a slice is put together under a key of its own, and then shown. */
export type ContentKey = Branded<number, "ContentKey">;

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
  /** XXH64 over grains and metadata, 16 hex digits; "" before the first refresh. */
  hash: string;
  /** The Go reference's SHA-1, for REST. */
  contentHash: string;
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
/** Longest name of a company, slice or subscription, in characters. */
export const maxNameLength = 200;

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** Whether the text is any 128 bits in the usual form (real partners have ids outside RFC 9562). */
export const isUuid = (text: string): boolean => uuid.test(text.toLowerCase()) && text.length === 36;

/** What a name is matched and kept unique by: without regard to case or to how accents are composed. */
export const nameKey = (name: string): string => name.normalize("NFC").toLowerCase();

/** Why `name` cannot be a name, or undefined if it can. */
export function nameProblem(name: string): string | undefined {
  if (name.trim() === "") return "is empty";
  if (name !== name.trim()) return "begins or ends with a blank";
  if ([...name].length > maxNameLength) return `is longer than ${maxNameLength} characters`;
  if (/[\p{Cc}\p{Zl}\p{Zp}]/u.test(name)) return "has control characters";
  if (!name.isWellFormed()) return "is not valid Unicode";
  const character = unfitForName(name);
  return character === undefined ? undefined : `has the invisible character ${character}`;
}

/** @throws `usage` unless `name` can be a name; `what` says whose. */
export function checkName(what: string, name: string): string {
  const problem = nameProblem(name);
  if (problem !== undefined)
    throw new SandpiperError("usage", `the ${what}'s name ${problem}`, { hint: "Choose another name." });
  if (isUuid(name))
    throw new SandpiperError("usage", `the ${what}'s name looks like an id`, {
      hint: "Choose a name that nobody takes for an id.",
    });
  return name;
}

/** Why a key or source cannot be one of a grain's, or undefined. Keys are exact bytes; NUL cannot be stored. */
export function grainTextProblem(text: string, minBytes: number): string | undefined {
  const bytes = Buffer.byteLength(text);
  if (bytes < minBytes) return "is empty";
  if (bytes > maxKeyBytes) return `is longer than ${maxKeyBytes} bytes`;
  if (text.includes("\0")) return "has a NUL character";
  if (!text.isWellFormed()) return "is not valid Unicode";
  return undefined;
}

/** The 16 bytes of an id. */
export const uuidBytes = (id: string): Buffer => Buffer.from(id.replaceAll("-", ""), "hex");

/** The id with these 16 bytes, in lower case. */
export function uuidText(bytes: Uint8Array): string {
  const hex = Buffer.from(bytes.buffer, bytes.byteOffset, 16).toString("hex");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
