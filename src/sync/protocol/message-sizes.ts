/** How large messages may be, in one place (PROTOCOL.md, "Sizes"). Pure. */
import { maxMetadataBytes, maxMetadataPairs } from "../../slices/rules/slice.ts";

/** The most that a message may be. */
export interface Size {
  /** Bytes, as it travels. */
  bytes: number;
  /** Elements and members, and the arrays and objects that hold them. */
  values: number;
}

/** Every message that is not named below: none of them holds more than a few short texts and numbers. */
export const usual: Size = { bytes: 8 * 1024, values: 8 * 1024 };

/** `compare`: an id, a hash and a count for each slice. */
export const compareSize = (slices: number): Size => ({
  bytes: usual.bytes + 100 * slices,
  values: usual.values + 4 * slices,
});

/** `compared`: an object of five members for each slice. */
export const comparedSize = (slices: number): Size => ({
  bytes: usual.bytes + 250 * slices,
  values: usual.values + 8 * slices,
});

/** `content`, with the metadata: JSON may write a byte as six (`\u0061`). */
export const contentSize: Size = {
  bytes: usual.bytes + 6 * maxMetadataBytes + 16 * maxMetadataPairs,
  values: usual.values + 4 * maxMetadataPairs,
};

/** Most slices that one comparison names, whatever is configured. */
export const maxComparedSlices = 100_000;
