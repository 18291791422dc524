/** What an evil primary does inside of frames: their headers, and the records of grains. */
import { maxBodyBytes, maxFrameBytes } from "../../../src/sync/protocol/frames.ts";
import {
  at,
  bent,
  bomb,
  few,
  file,
  grain,
  inOrder,
  instead,
  many,
  type PrimaryMove,
  packed,
  poked,
  refilled,
  withBody,
} from "./primary-script.ts";

const record = (name: string, change: (body: Buffer) => void) =>
  few(
    name,
    grain(({ frame }) => [poked(frame, change)]),
  );
const field = (name: string, change: (fields: (Buffer | null)[]) => (Uint8Array | null)[]) =>
  few(
    name,
    grain(({ frame }) => [refilled(frame, change)]),
  );

const records: PrimaryMove[] = [
  record("a record of five fields", (body) => void body.writeUInt16BE(5, at.fields)),
  field("an id of 15 bytes", ([id, ...rest]) => [id!.subarray(1), ...rest]),
  field("a key of nothing", ([id, , ...rest]) => [id!, Buffer.alloc(0), ...rest]),
  field("a key with NUL", ([id, , ...rest]) => [id!, Buffer.from("a\0b"), ...rest]),
  field("a key that is too long", ([id, , ...rest]) => [id!, Buffer.alloc(1025, "k"), ...rest]),
  field("a key that is not UTF-8", ([id, , ...rest]) => [id!, Buffer.from([0xc3, 0x28]), ...rest]),
  field("a source that is not UTF-8", ([id, key, , ...rest]) => [id!, key!, Buffer.from([0xc3, 0x28]), ...rest]),
  field("an encoding of nobody's", ([id, key, source, , ...rest]) => [id!, key!, source!, Buffer.from("xyz"), ...rest]),
  field("a length beyond 2^53", ([id, key, source, encoding, , payload]) => [
    id!,
    key!,
    source!,
    encoding!,
    Buffer.alloc(8, 0x7f),
    payload!,
  ]),
  field("a payload longer than its length", ([id, key, source, encoding, length, payload]) => [
    id!,
    key!,
    source!,
    encoding!,
    length!,
    Buffer.concat([payload!, Buffer.from("x")]),
  ]),
  few(
    "a record cut in a length",
    grain(({ frame }) => [withBody(frame, (body) => body.subarray(0, 4))]),
  ),
  few(
    "a record cut in a field",
    grain(({ frame }) => [withBody(frame, (body) => body.subarray(0, 20))]),
  ),
  few(
    "a record cut at its end",
    grain(({ frame }) => [withBody(frame, (body) => body.subarray(0, -1))]),
  ),
  record("a key of 4 GB", (body) => void body.writeUInt32BE(0xfffffff0, at.keyLength)),
  few(
    "more than its records",
    grain(({ frame }) => [withBody(frame, (body) => Buffer.concat([body, Buffer.from("x")]))]),
  ),
  few(
    "more records than there are",
    grain(({ frame }) => [{ ...frame, entries: 0xffffffff }]),
  ),
];

const headers: PrimaryMove[] = [
  few(
    "a frame shorter than its header",
    grain(() => [Buffer.alloc(8)]),
  ),
  few(
    "a frame larger than may be",
    grain(({ frame }) => [{ ...frame, body: Buffer.concat([frame.body, Buffer.alloc(maxBodyBytes)]) }]),
  ),
  few(
    "a message of 9 MiB",
    grain(() => [Buffer.alloc(9 * 1024 * 1024)]),
  ),
  few(
    "a frame of another type",
    grain(({ frame }) => [bent(frame, (bytes) => void bytes.writeUInt8(6, 0))]),
  ),
  few(
    "a frame of a type that there is not",
    grain(({ frame }) => [bent(frame, (bytes) => void bytes.writeUInt8(99, 0))]),
  ),
  few(
    "flags that were not agreed",
    grain(({ frame }) => [bent(frame, (bytes) => void bytes.writeUInt16BE(1, 2))]),
  ),
  few(
    "a frame longer than its header says",
    grain(({ frame }) => [bent(frame, (bytes) => void bytes.writeUInt32BE(3, 12))]),
  ),
  few(
    "a frame cut at its end",
    grain(({ frame }) => [bent(frame, () => {}).subarray(0, -5)]),
  ),
  few(
    "an empty frame",
    inOrder(({ frame }) => [{ ...frame, entries: 0, body: Buffer.alloc(0) }, frame]),
  ),
  few(
    "a list with fewer entries than it says",
    instead("list", 0, ({ frame }) => [{ ...frame, entries: frame.entries + 1 }]),
  ),
  many(
    "cells with fewer entries than they say",
    instead("cells", 0, ({ frame }) => [{ ...frame, entries: 1000 }]),
  ),
  file(
    "a chunk of two",
    instead("chunk", 0, ({ frame }) => [{ ...frame, entries: 2 }]),
  ),
  few(
    "a compressed frame of garbage",
    grain(({ frame }) => [packed(frame, Buffer.from("garbage"), 100)]),
  ),
  few(
    "a compressed frame of 2 GB",
    grain(({ frame }) => [packed(frame, bomb(1000), 2 ** 31 - 1)]),
  ),
  few(
    "a compressed frame that is less than it says",
    grain(({ frame }) => [packed(frame, bomb(10), 20)]),
  ),
  few(
    "a bomb of 64 MB in a frame",
    grain(({ frame }) => [packed(frame, bomb(64 * 1024 * 1024), maxFrameBytes - 4096)]),
  ),
];

export const recordMoves: readonly PrimaryMove[] = [...records, ...headers];
