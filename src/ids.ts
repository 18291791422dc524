/** Ids as types of their own, so that none is taken for another; and ids as text and as bytes. Pure. */

declare const brand: unique symbol;
type Branded<Of, Name extends string> = Of & { readonly [brand]: Name };

export type CompanyId = Branded<string, "CompanyId">;
export type SliceId = Branded<string, "SliceId">;
/** Our own number for a slice: a peer never sees or chooses it. */
export type SliceKey = Branded<number, "SliceKey">;
/** What a slice's grains are filed under. A new copy of a slice is put together under a key of its own, and then shown. */
export type ContentKey = Branded<number, "ContentKey">;

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** Whether the text is any 128 bits in the usual form (real partners have ids outside RFC 9562). */
export const isUuid = (text: string): boolean => uuid.test(text.toLowerCase()) && text.length === 36;

/** The 16 bytes of an id. */
export const uuidBytes = (id: string): Buffer => Buffer.from(id.replaceAll("-", ""), "hex");

/** The id with these 16 bytes, in lower case. */
export function uuidText(bytes: Uint8Array): string {
  const hex = Buffer.from(bytes.buffer, bytes.byteOffset, 16).toString("hex");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
