/**
 * The control messages of the websocket, one union per direction (PROTOCOL.md, "Messages"). Pure. What a peer
 * sends is hostile: parsing refuses unknown types and missing fields, and ignores unknown optional ones. What is too large is
 * refused before it is looked at, and of what is wrong with a message only the first is told, lest it costs more to refuse than to send.
 */

import * as z from "zod";
import { SandpiperError } from "../../errors.ts";
import { isUuid } from "../../ids.ts";
import { countMarks } from "../../json-marks.ts";
import { type Pieces, ranged } from "../../pieces.ts";
import { metadataExcess } from "../../slices/rules/metadata.ts";
import { maxMetadataPairs } from "../../slices/rules/slice.ts";
import { refuse } from "./guards.ts";
import { maxComparedSlices, maxDepth, type Size, usual } from "./limits.ts";

/** Elements of a long list that are looked at between two pauses. */
const lookedAtOnce = 2048;

/** The version that this program speaks: major.minor. */
export const protocolVersion = "2.0";
/** The one compression of frames, as begin and compare name it. */
export const frameCompression = "brotli";
/** The websocket subprotocol of this major version. */
export const subprotocol = "sandpiper.sync.2";

const hashForm = /^[0-9a-f]{16}$/;
const id = z.guid().toLowerCase();
const hash = z.string().regex(hashForm);
const count = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);
const storable = (value: string) => !value.includes("\0") && value.isWellFormed();
/** Text that can be stored: PostgreSQL takes neither NUL nor half a character. */
const text = (max: number) =>
  z.string().max(max, { abort: true }).refine(storable, "has characters that cannot be stored");

const lower = (text: string) => text.toLowerCase();
const isId = (value: unknown): value is string => typeof value === "string" && isUuid(value);
const isHash = (value: unknown): value is string => typeof value === "string" && hashForm.test(value);
const isHashOrNone = (value: unknown): value is string => value === "" || isHash(value);
const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

/** Lists that {@link lookThrough} has found to be right. */
const right = new WeakSet<object>();

/** A list of up to thousands: none of its elements is looked at when there are too many, and none after the first that is wrong. */
const listOf = <T>(most: number, isElement: (value: unknown) => value is T, what: string) =>
  z.custom<T[]>(
    (value) => Array.isArray(value) && value.length <= most && (right.has(value) || value.every(isElement)),
    `is not a list of at most ${most} ${what}`,
  );
const idList = listOf(maxComparedSlices, isId, "ids").transform((ids) => (right.has(ids) ? ids : ids.map(lower)));

/** What a comparison says of a slice. */
export type Compared =
  | { id: string; state: "differs"; hash: string; count: number; bytes: number }
  | { id: string; state: "locked" | "unavailable" };

function isCompared(value: unknown): value is Compared {
  if (typeof value !== "object" || value === null) return false;
  const slice = value as Record<string, unknown>;
  if (!isId(slice.id)) return false;
  if (slice.state !== "differs") return slice.state === "locked" || slice.state === "unavailable";
  return isHash(slice.hash) && isCount(slice.count) && isCount(slice.bytes);
}

function lowered(slice: Compared): Compared {
  const id = lower(slice.id);
  return id === slice.id ? slice : { ...slice, id };
}

const metadata = z.custom<[key: string, value: string][]>((value) => metadataProblem(value) === undefined, {
  error: ({ input }) => metadataProblem(input) ?? "is not valid",
});

/** What is wrong with the metadata of a slice; longer keys and values than we have are taken. */
function metadataProblem(value: unknown): string | undefined {
  if (!Array.isArray(value)) return "is not a list";
  if (value.length > maxMetadataPairs) return `has more than ${maxMetadataPairs} pairs`;
  let last: Buffer | undefined;
  for (const pair of value as unknown[]) {
    if (!isPair(pair)) return "has something else than a key and a value";
    const key = Buffer.from(pair[0]);
    if (last !== undefined && Buffer.compare(last, key) >= 0) return "has keys that do not ascend";
    last = key;
  }
  return metadataExcess(value as [string, string][]);
}

function isPair(value: unknown): value is [string, string] {
  if (!Array.isArray(value) || value.length !== 2) return false;
  const [key, text] = value as unknown[];
  if (typeof key !== "string" || typeof text !== "string" || key.length > 1000 || text.length > 100_000) return false;
  return storable(key) && storable(text);
}

/** Why a primary does not serve a slice now. */
export const refusals = ["changed", "locked", "unavailable", "failed"] as const;
export type Refusal = (typeof refusals)[number];

const primaryMessage = z.discriminatedUnion("type", [
  /** Before `begin`: so many sessions are served first; it is said again after at most `retry_after` seconds. */
  z.object({ type: z.literal("queued"), ahead: count, retry_after: count }),
  z.object({
    type: z.literal("begin"),
    protocol: z.string().regex(/^\d{1,4}\.\d{1,4}$/),
    server_id: id,
    company_id: id,
    limits: z.object({ frame_bytes: count, slices: count }),
    capabilities: z.array(text(40)).max(20),
  }),
  z.object({
    type: z.literal("compared"),
    slices: listOf(maxComparedSlices, isCompared, "slices that are not the same").transform((slices) =>
      right.has(slices) ? slices : slices.map(lowered),
    ),
  }),
  z.object({
    type: z.literal("content"),
    id,
    hash,
    count,
    bytes: count,
    metadata,
  }),
  z.object({ type: z.literal("end"), id, grains: count, bytes: count }),
  /** `hash` and `count` say what the slice is now, when the reason is "changed". */
  z.object({
    type: z.literal("refused"),
    id,
    reason: z.enum(refusals),
    hash: hash.optional(),
    count: count.optional(),
  }),
  z.object({ type: z.literal("confirmed"), id, run_id: id }),
  /** What the slice is, counted again unless that was done lately; `was_right` says whether it had been said so before. */
  z.object({ type: z.literal("recounted"), id, hash, count, was_right: z.boolean() }),
]);
export type PrimaryMessage = z.infer<typeof primaryMessage>;

export const outcomes = ["updated", "failed", "deferred", "denied", "would-update"] as const;

const confirm = z.object({
  type: z.literal("confirm"),
  run_id: id,
  id,
  test: z.boolean(),
  outcome: z.enum(outcomes),
  /** What the secondary holds now. */
  hash: z.union([hash, z.literal("")]),
  count,
  added: count,
  removed: count,
  bytes: count,
  duration_ms: count,
  message: text(500),
});
export type Confirm = z.infer<typeof confirm>;

const secondaryMessage = z.discriminatedUnion("type", [
  z.object({
    type: z.literal("compare"),
    run_id: id,
    test: z.boolean(),
    program: text(100),
    /** Compressions of frames that the secondary understands. */
    accept: z.array(text(40)).max(20).default([]),
    ids: idList,
    hashes: listOf(maxComparedSlices, isHashOrNone, "hashes"),
    counts: listOf(maxComparedSlices, isCount, "counts"),
  }),
  z.object({ type: z.literal("reconcile"), id, hash, want: z.enum(["content", "list", "cells"]) }),
  z.object({ type: z.literal("cells"), id, hash, first: count, end: count }),
  z.object({
    type: z.literal("fetch"),
    id,
    hash,
    by: z.enum(["all", "ids"]),
    count,
    after: id.nullable(),
    /** The grain `after` is in chunks, and these of them have arrived. */
    chunk: count.optional(),
  }),
  /** What was listed does not make the hash that was said: the primary should count the slice again. */
  z.object({ type: z.literal("recount"), id, hash }),
  confirm,
  z.object({ type: z.literal("bye") }),
]);
export type SecondaryMessage = z.infer<typeof secondaryMessage>;
/** All that a secondary may say. */
export const secondaryMessageTypes = secondaryMessage.options.map((option) => option.shape.type.value);

/** What came over the channel, not looked at yet; text as its bytes in UTF-8. */
export type Incoming = { text: Buffer } | { binary: Buffer };

/** The types that may come next and be larger than usual, each with its size. */
export type Due<Message extends { type: string }> = { [T in Message["type"]]?: Size };

/** A message from a primary, read with pauses. @throws `protocol` for anything else, or for one that is larger than may come now. */
export const readPrimaryMessage = (incoming: Incoming, due: Due<PrimaryMessage> = {}): Pieces<PrimaryMessage> =>
  read(primaryMessage, incoming, "primary", due);

/** A message from a secondary, read with pauses. @throws `protocol` for anything else, or for one that is larger than may come now. */
export const readSecondaryMessage = (incoming: Incoming, due: Due<SecondaryMessage> = {}): Pieces<SecondaryMessage> =>
  read(secondaryMessage, incoming, "secondary", due);

function* read<T extends { type: string }>(
  schema: z.ZodType<T>,
  incoming: Incoming,
  peer: string,
  due: Due<T>,
): Pieces<T> {
  if ("binary" in incoming)
    refuse("message.binary", violation(`the ${peer} sent a binary frame where a message is due`));
  const { text } = incoming;
  const sizes = due as Readonly<Record<string, Size | undefined>>;
  const most = Object.values(sizes).reduce<Size>((a, b) => (b !== undefined && b.bytes > a.bytes ? b : a), usual);
  if (text.length > most.bytes)
    refuse(
      "message.bytes",
      violation(`a message that the ${peer} sent has ${text.length} bytes, and at most ${most.bytes} are due`),
    );
  if (text.length > usual.bytes && typeof countMarks(text, { depth: maxDepth, values: most.values }) === "string")
    refuse("message.values", violation(`a message that the ${peer} sent has more parts than are due`));
  const large = text.length > usual.bytes;
  if (large) yield;
  let value: unknown;
  try {
    value = JSON.parse(text.toString());
  } catch {
    refuse("message.json", violation(`the ${peer} sent a message that is not JSON`));
  }
  if (large) {
    yield;
    yield* lookThrough(value);
  }
  const result = schema.safeParse(value);
  if (!result.success) {
    const { path, message } = result.error.issues[0]!;
    const where = path.map(String).join(".") || "message";
    refuse(
      "message.valid",
      violation(`the ${peer} sent a message that is not valid: ${where}: ${message}`.slice(0, 200)),
    );
  }
  const own = sizes[result.data.type] ?? usual;
  if (text.length > own.bytes)
    refuse("message.own-bytes", violation(`${result.data.type} has ${text.length} bytes, and may have ${own.bytes}`));
  return result.data;
}

/** The element of a long list as it is to be, or undefined for a wrong one; by the name of the list. */
const elements = new Map<string, (value: unknown) => unknown>([
  ["ids", (value) => (isId(value) ? lower(value) : undefined)],
  ["hashes", (value) => (isHashOrNone(value) ? value : undefined)],
  ["counts", (value) => (isCount(value) ? value : undefined)],
  ["slices", (value) => (isCompared(value) ? lowered(value) : undefined)],
]);

/** Looks through the long lists of a message, some thousands of elements at a time; what is wrong with them, the schema says. */
function* lookThrough(message: unknown): Pieces<void> {
  if (typeof message !== "object" || message === null) return;
  for (const [name, list] of Object.entries(message)) {
    const element = elements.get(name);
    if (element === undefined || !Array.isArray(list) || list.length > maxComparedSlices) continue;
    let wrong = false;
    yield* ranged(list.length, lookedAtOnce, (from, to) => {
      for (let i = from; i < to && !wrong; i++) {
        const value = element(list[i]);
        if (value === undefined) wrong = true;
        else list[i] = value;
      }
    });
    if (!wrong) right.add(list);
  }
}

/** The peer broke the protocol. */
export function violation(what: string): SandpiperError {
  return new SandpiperError("protocol", what, {
    hint: "Nothing was changed. Ask the partner to check its server and the version that it runs.",
  });
}
