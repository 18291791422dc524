/**
 * Binary frames (PROTOCOL.md, "Frames"): a 16-byte header and a body of at most 1 MiB of payload plus the other
 * fields of its records. Pure.
 *
 *     u8 type   u8 flags   u16 reserved (0)   u32 sequence   u32 entries   u32 body length   body
 *
 * All numbers are big-endian. The sequence counts the frames of one stream from 0.
 */

import { isUtf8 } from "node:buffer";
import { idBytes, listEntryBytes } from "../../slices/rules/hash.ts";
import { cellBytes } from "../../slices/rules/sketch.ts";
import { chunkBytes, encodings, maxKeyBytes } from "../../slices/rules/slice.ts";
import { nullLength } from "../../slices/rules/tuples.ts";
import { refuse } from "./guards.ts";
import { violation } from "./messages.ts";

export const frameTypes = { list: 1, ids: 2, grains: 3, chunk: 4, cells: 5 } as const;
export type FrameType = keyof typeof frameTypes;

export const headerBytes = 16;
/** A flag of the header: the body is compressed with brotli. The sessions never see it. */
export const compressedFlag = 1;
/** Room for a whole payload of 1 MiB with its id, key, source and encoding. */
export const maxBodyBytes = chunkBytes + 4096 - headerBytes;
export const maxFrameBytes = headerBytes + maxBodyBytes;
/** What frames of small grains aim at: large enough to shrink well, small enough that a crash costs little. */
export const usualBodyBytes = chunkBytes / 4;

/** Sizes of the entries of frames that hold nothing else. */
const entryBytes = { list: listEntryBytes, ids: idBytes, cells: cellBytes } as const;
export type EntryFrame = keyof typeof entryBytes;

export interface Frame {
  type: FrameType;
  sequence: number;
  /** How many entries of its type, or grain records, the body holds; 1 for a chunk. */
  entries: number;
  body: Buffer;
}

/** Puts a frame together. */
export function encodeFrame(frame: Frame): Buffer {
  const out = Buffer.allocUnsafe(headerBytes + frame.body.length);
  out.writeUInt8(frameTypes[frame.type], 0);
  out.writeUInt8(0, 1);
  out.writeUInt16BE(0, 2);
  out.writeUInt32BE(frame.sequence, 4);
  out.writeUInt32BE(frame.entries, 8);
  out.writeUInt32BE(frame.body.length, 12);
  frame.body.copy(out, headerBytes);
  return out;
}

/** Takes a frame apart. @throws `protocol` unless it is whole and one of the types `allowed`, with the sequence `expected`. */
export function decodeFrame(bytes: Buffer, allowed: readonly FrameType[], expected: number): Frame {
  if (bytes.length < headerBytes) refuse("frame.short", violation("a frame is shorter than its header"));
  if (bytes.length > maxFrameBytes) refuse("frame.large", violation(`a frame is larger than ${maxFrameBytes} bytes`));
  const type = allowed.find((name) => frameTypes[name] === bytes.readUInt8(0));
  if (type === undefined)
    refuse("frame.type", violation(`a frame of type ${bytes.readUInt8(0)} came where ${allowed.join(" or ")} is due`));
  if (bytes.readUInt8(1) !== 0 || bytes.readUInt16BE(2) !== 0)
    refuse("frame.flags", violation("a frame has flags that were not agreed"));
  const frame = {
    type,
    sequence: bytes.readUInt32BE(4),
    entries: bytes.readUInt32BE(8),
    body: bytes.subarray(headerBytes),
  };
  if (frame.sequence !== expected)
    refuse("frame.sequence", violation(`frame ${frame.sequence} came where frame ${expected} is due`));
  if (bytes.readUInt32BE(12) !== frame.body.length)
    refuse("frame.length", violation("a frame is not as long as its header says"));
  const entrySize = type in entryBytes ? entryBytes[type as EntryFrame] : undefined;
  if (entrySize !== undefined && frame.entries * entrySize !== frame.body.length)
    refuse("frame.entries", violation("a frame does not hold the entries that its header says"));
  if (type === "chunk" && frame.entries !== 1) refuse("frame.one-chunk", violation("a chunk frame holds one chunk"));
  if (frame.entries === 0) refuse("frame.empty", violation("a frame is empty"));
  return frame;
}

/** Cuts entries into frames of one stream, from the sequence `first` on. */
export function* entryFrames(type: EntryFrame, entries: Buffer, first = 0): Generator<Buffer> {
  const size = entryBytes[type];
  const stride = Math.floor(chunkBytes / size) * size;
  let sequence = first;
  for (let at = 0; at < entries.length; at += stride) {
    const body = entries.subarray(at, at + stride);
    yield encodeFrame({ type, sequence: sequence++, entries: body.length / size, body });
  }
}

/** A grain record among others: where it is and what of it matters to the sessions. */
export interface GrainRecord {
  start: number;
  end: number;
  /** Where the 16 bytes of its id are. */
  idAt: number;
  payloadBytes: number;
  /** The payload follows in chunk frames. */
  chunked: boolean;
}

/** A record to read into. */
export const newRecord = (): GrainRecord => ({ start: 0, end: 0, idAt: 0, payloadBytes: 0, chunked: false });

const encodingNumbers: ReadonlySet<number> = new Set(encodings.map((name) => Buffer.from(name).readUIntBE(0, 3)));
const recordFields = 6;

/**
 * The records of a grains frame, checked, one after another. What is yielded is the same object every time, since there are
 * millions of them.
 *
 * @throws `protocol` when anything is not as it must be.
 */
export function* readRecords({ body, entries }: Pick<Frame, "body" | "entries">): Generator<GrainRecord> {
  const record = newRecord();
  for (let n = 0; n < entries; n++) {
    readRecord(body, record.end, record);
    if (record.chunked && n !== entries - 1)
      refuse("record.chunked-last", violation("a chunked grain is not the last record of its frame"));
    yield record;
  }
  if (record.end !== body.length) refuse("record.beyond", violation("a grains frame holds more than its records"));
}

/**
 * Reads the record that begins at `start` into `into`: six fields (id, key, source, encoding, payload length as u64, payload or
 * NULL), each behind its length. A payload is NULL exactly when it is over 1 MiB; then its chunks follow.
 *
 * @throws `protocol` when it is not as it must be.
 */
export function readRecord(body: Buffer, start: number, into: GrainRecord): void {
  if (start + 2 > body.length || body.readUInt16BE(start) !== recordFields)
    refuse("record.fields", violation("a grain record does not have six fields"));
  let at = start + 2;
  if (fieldLength(body, at) !== idBytes) refuse("record.id", violation("a grain's id does not have 16 bytes"));
  const idAt = at + 4;
  at = idAt + idBytes;
  const keyBytes = fieldLength(body, at);
  if (keyBytes < 1 || keyBytes > maxKeyBytes || !isText(body, at + 4, keyBytes))
    refuse("record.key", violation("a grain's key is not 1 to 1,024 bytes of UTF-8"));
  at += 4 + keyBytes;
  const sourceBytes = fieldLength(body, at);
  if (sourceBytes > maxKeyBytes || !isText(body, at + 4, sourceBytes))
    refuse("record.source", violation("a grain's source is not up to 1,024 bytes of UTF-8"));
  at += 4 + sourceBytes;
  if (fieldLength(body, at) !== 3 || !encodingNumbers.has(body.readUIntBE(at + 4, 3)))
    refuse("record.encoding", violation("a grain's encoding is not known"));
  at += 4 + 3;
  if (fieldLength(body, at) !== 8 || body.readUInt32BE(at + 4) > 0x1fffff)
    refuse("record.payload-bytes", violation("a grain's payload length is not a number up to 2^53"));
  const payloadBytes = body.readUInt32BE(at + 4) * 2 ** 32 + body.readUInt32BE(at + 8);
  at += 4 + 8;
  const chunked = at + 4 <= body.length && body.readUInt32BE(at) === nullLength;
  if (chunked ? payloadBytes <= chunkBytes : fieldLength(body, at) !== payloadBytes || payloadBytes > chunkBytes)
    refuse("record.payload", violation("a grain's payload is not as long as its record says"));
  into.start = start;
  into.end = at + 4 + (chunked ? 0 : payloadBytes);
  into.idAt = idAt;
  into.payloadBytes = payloadBytes;
  into.chunked = chunked;
}

/** The length of the field at `at`, all of which is there. */
function fieldLength(body: Buffer, at: number): number {
  if (at + 4 > body.length) refuse("record.cut-in-number", violation("a grain record is cut short"));
  const length = body.readUInt32BE(at);
  if (at + 4 + length > body.length) refuse("record.cut-in-field", violation("a grain record is cut short"));
  return length;
}

/** Whether `length` bytes from `at` on are UTF-8 without NUL. */
function isText(body: Buffer, at: number, length: number): boolean {
  let ascii = true;
  for (let i = at; i < at + length; i++) {
    const byte = body[i]!;
    if (byte === 0) return false;
    if (byte > 0x7f) ascii = false;
  }
  return ascii || isUtf8(body.subarray(at, at + length));
}
