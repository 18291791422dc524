/**
 * The control messages of the websocket, one union per direction (PROTOCOL.md, "Messages"). Pure. What a peer
 * sends is hostile: parsing refuses unknown types and missing fields, and ignores unknown optional ones.
 */
import { z } from "zod";
import { SandpiperError } from "../errors.ts";

/** The version that this program speaks: major.minor. */
export const protocolVersion = "1.1";
/** The one compression of frames, as begin and compare name it. */
export const frameCompression = "brotli";
/** The websocket subprotocol of this major version. */
export const subprotocol = "sandpiper.sync.1";

const id = z.guid().toLowerCase();
const hash = z.string().regex(/^[0-9a-f]{16}$/);
const count = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);
/** Text that can be stored: PostgreSQL takes neither NUL nor half a character. */
const text = (max: number) =>
  z
    .string()
    .max(max)
    .refine((value) => !value.includes("\0") && value.isWellFormed(), "has characters that cannot be stored");

const comparedSlice = z.discriminatedUnion("state", [
  z.object({ id, state: z.literal("differs"), hash, count, bytes: count }),
  z.object({ id, state: z.literal("locked") }),
  z.object({ id, state: z.literal("unavailable") }),
]);

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
    capabilities: z.array(text(100)).max(100),
  }),
  z.object({ type: z.literal("compared"), slices: z.array(comparedSlice) }),
  z.object({
    type: z.literal("content"),
    id,
    hash,
    count,
    bytes: count,
    metadata: z
      .array(z.tuple([text(1000), text(100_000)]))
      .max(100_000)
      .refine(
        (pairs) =>
          pairs.every(([key], i) => i === 0 || Buffer.compare(Buffer.from(pairs[i - 1]![0]), Buffer.from(key)) < 0),
        "the keys do not ascend",
      ),
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
    ids: z.array(id),
    hashes: z.array(z.union([hash, z.literal("")])),
    counts: z.array(count),
  }),
  z.object({ type: z.literal("reconcile"), id, hash, want: z.enum(["content", "list", "cells"]) }),
  z.object({ type: z.literal("cells"), id, hash, first: count, end: count }),
  z.object({
    type: z.literal("fetch"),
    id,
    hash,
    by: z.enum(["all", "ids", "symbols"]),
    count,
    after: id.nullable(),
    /** The grain `after` is in chunks, and these of them have arrived. */
    chunk: count.optional(),
  }),
  confirm,
  z.object({ type: z.literal("bye") }),
]);
export type SecondaryMessage = z.infer<typeof secondaryMessage>;
/** All that a secondary may say. */
export const secondaryMessageTypes = secondaryMessage.options.map((option) => option.shape.type.value);

/** What came over the channel, not looked at yet. */
export type Incoming = { text: string } | { binary: Buffer };

/** A message from a primary. @throws `protocol` for anything else. */
export const parsePrimaryMessage = (incoming: Incoming): PrimaryMessage => parse(primaryMessage, incoming, "primary");

/** A message from a secondary. @throws `protocol` for anything else. */
export const parseSecondaryMessage = (incoming: Incoming): SecondaryMessage =>
  parse(secondaryMessage, incoming, "secondary");

function parse<T>(schema: z.ZodType<T>, incoming: Incoming, peer: string): T {
  if ("binary" in incoming) throw violation(`the ${peer} sent a binary frame where a message is due`);
  let value: unknown;
  try {
    value = JSON.parse(incoming.text);
  } catch {
    throw violation(`the ${peer} sent a message that is not JSON`);
  }
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0]!;
  throw violation(
    `the ${peer} sent a message that is not valid: ${issue.path.map(String).join(".") || "message"}: ${issue.message}`.slice(
      0,
      200,
    ),
  );
}

/** The peer broke the protocol. */
export function violation(what: string): SandpiperError {
  return new SandpiperError("protocol", what, {
    hint: "Nothing was changed. Ask the partner to check its server and the version that it runs.",
  });
}
