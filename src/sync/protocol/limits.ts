/** The limits of the protocol: how large messages may be (PROTOCOL.md, "Sizes"), how much is asked for, how long is waited. Pure. */
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

/** Deeper than any message nests. */
export const maxDepth = 16;

/** Most bytes of an answer to the login. */
export const maxLoginBytes = 16 * 1024;
/** Most bytes of one subscription in a list of them. */
export const maxRowBytes = 64 * 1024;

/** Most cells of a slice that are asked for, from the first on: 22 MB. */
export const mostCells = 1_000_000;
/** A larger list is not worth it for a slice that has become several times as large: then the whole slice is fetched. */
export const largeListBytes = 24 * 1024 * 1024;
/** How often a slice that changes while it is transferred is begun, in all. */
export const maxAttempts = 3;

/** How long it may take to open the websocket. */
export const handshakeMs = 20_000;
/** A primary waits so long for the first request, and for each further one. */
export const firstRequestMs = 15_000;
export const idleRequestMs = 15 * 60 * 1000;
/** A secondary waits so long for the first answer, and for each further one, pings notwithstanding. */
export const firstAnswerMs = 15_000;
export const answerMs = 300_000;
/** How long a secondary waits for a place in the primary's line, in all. */
export const lineMs = 3_600_000;
