/**
 * The primary's side of a sync, as pure decisions. It answers one request of the partner at a time:
 *
 *     begin ->   <- compare   compared ->   { <- reconcile   content, list frames ->   <- fetch [id frames]
 *     grains and chunk frames, end ->   <- confirm   confirmed -> }   <- bye
 *
 * Rights are never remembered: before every frame of a slice the partner's view of it is read again, and the
 * stream ends with `refused` when it is gone, locked or changed.
 */
import { asSandpiperError } from "../errors.ts";
import type { Metadata } from "../slices/hash.ts";
import { chunkBytes } from "../slices/slice.ts";
import { asker, type Session } from "./effects.ts";
import {
  decodeFrame,
  encodeFrame,
  idBytes,
  listEntryBytes,
  maxBodyBytes,
  maxFrameBytes,
  readRecords,
} from "./frames.ts";
import {
  type Confirm,
  type Incoming,
  type PrimaryMessage,
  parseSecondaryMessage,
  protocolVersion,
  type Refusal,
  type SecondaryMessage,
  violation,
} from "./messages.ts";

/** A slice as the partner may see it at this moment. */
export interface SliceView {
  id: string;
  allowSync: boolean;
  hash: string;
  count: number;
  bytes: number;
}

/** A read of a slice, with the partner's view of it in the same snapshot; `view` undefined when there is nothing to see. */
export interface Read<T> {
  view: SliceView | undefined;
  data: T;
}

/** Grain records, whole, back to back; `ends` are their ends in `bytes`. */
export interface Records {
  bytes: Buffer;
  ends: number[];
}

/** What the primary's session asks of the world. All reads are scoped to the partner. */
export interface PrimaryPort {
  receive(): Promise<Incoming>;
  send(message: PrimaryMessage): Promise<void>;
  sendFrame(frame: Buffer): Promise<void>;
  /** The slices among `ids` that the partner may see now. */
  look(ids: readonly string[]): Promise<SliceView[]>;
  readMetadata(id: string): Promise<Read<Metadata>>;
  /** List entries (id, symbol) after the id `after`, ascending; empty at the end. */
  readList(id: string, after: Buffer | null): Promise<Read<Buffer>>;
  /** Records of grains after `after`, ascending; of those in `wanted` only, if given. Empty at the end. */
  readGrains(id: string, after: Buffer | null, wanted: Buffer | null): Promise<Read<Records>>;
  /** Chunk `sequence` of a large grain. */
  readChunk(id: string, grainId: Buffer, sequence: number): Promise<Read<Buffer>>;
  /** Stores what the partner reports, once however often it is repeated. */
  record(confirm: Confirm): Promise<void>;
}

const ask = asker<PrimaryPort>();
type Steps<T> = Session<PrimaryPort, T>;

export interface PrimaryFacts {
  serverId: string;
  companyId: string;
  /** Most slices that one comparison may name. */
  maxSlices: number;
}

/** Serves one partner until it says bye. @throws `protocol` when the partner breaks the protocol. */
export function* primarySession(facts: PrimaryFacts): Steps<void> {
  yield* ask.send({
    type: "begin",
    protocol: protocolVersion,
    server_id: facts.serverId,
    company_id: facts.companyId,
    limits: { frame_bytes: maxFrameBytes, slices: facts.maxSlices },
    capabilities: [],
  });
  let compared = false;
  for (;;) {
    const message = parseSecondaryMessage(yield* ask.receive());
    if (message.type === "bye") return;
    if (message.type === "compare") {
      if (compared) throw violation("a second comparison in one session");
      compared = true;
      yield* compare(message, facts.maxSlices);
    } else if (message.type === "confirm") {
      yield* ask.record(message);
      yield* ask.send({ type: "confirmed", id: message.id, run_id: message.run_id });
    } else {
      if (!compared) throw violation(`${message.type} came before the comparison`);
      const wanted = message.type === "fetch" ? yield* receiveIds(message.count) : null;
      const refusal = yield* serve(message, wanted);
      if (refusal !== undefined) yield* refuse(message.id, refusal);
    }
  }
}

function* refuse(id: string, reason: Refusal): Steps<void> {
  const [now] = reason === "changed" ? yield* ask.look([id]) : [];
  yield* ask.send({ type: "refused", id, reason, ...(now === undefined ? {} : { hash: now.hash }) });
}

type Compared = Extract<PrimaryMessage, { type: "compared" }>["slices"][number];
type Compare = Extract<SecondaryMessage, { type: "compare" }>;

function* compare(message: Compare, maxSlices: number): Steps<void> {
  const { ids, hashes, counts } = message;
  if (ids.length !== hashes.length || ids.length !== counts.length)
    throw violation("the arrays of a comparison differ in length");
  if (ids.length > maxSlices) throw violation(`a comparison names more than ${maxSlices} slices`);
  if (new Set(ids).size !== ids.length) throw violation("a comparison names a slice twice");
  const views = new Map((yield* ask.look(ids)).map((view) => [view.id, view]));
  const slices = ids.flatMap((id, i): Compared[] => {
    const view = views.get(id);
    if (view === undefined) return [{ id, state: "unavailable" as const }];
    if (!view.allowSync) return [{ id, state: "locked" as const }];
    if (view.hash === hashes[i] && view.count === counts[i]) return [];
    return [{ id, state: "differs" as const, hash: view.hash, count: view.count, bytes: view.bytes }];
  });
  yield* ask.send({ type: "compared", slices });
}

/** Why a slice cannot be served as (slice, hash) was agreed; undefined when it can. */
function judge(view: SliceView | undefined, hash: string): Refusal | undefined {
  if (view === undefined) return "unavailable";
  if (!view.allowSync) return "locked";
  return view.hash === hash ? undefined : "changed";
}

type Request = Extract<SecondaryMessage, { type: "reconcile" | "fetch" }>;

/** Serves one request; what goes wrong with this slice is answered for this slice. */
function* serve(request: Request, wanted: Buffer | null): Steps<Refusal | undefined> {
  try {
    return request.type === "reconcile" ? yield* sendContent(request) : yield* sendGrains(request, wanted);
  } catch (error) {
    const { code } = asSandpiperError(error);
    if (code === "storage" || code === "internal") return "failed";
    throw error;
  }
}

function* sendContent({ id, hash, list }: Extract<Request, { type: "reconcile" }>): Steps<Refusal | undefined> {
  const { view, data: metadata } = yield* ask.readMetadata(id);
  const refusal = judge(view, hash);
  if (refusal !== undefined) return refusal;
  const { count, bytes } = view!;
  yield* ask.send({ type: "content", id, hash, count, bytes, metadata: metadata.map(([key, value]) => [key, value]) });
  if (!list) return undefined;
  let sequence = 0;
  for (let after: Buffer | null = null; ; ) {
    const read: Read<Buffer> = yield* ask.readList(id, after);
    const late = judge(read.view, hash);
    if (late !== undefined) return late;
    const entries = read.data;
    if (entries.length === 0) return undefined;
    for (let at = 0; at < entries.length; ) {
      const body = entries.subarray(at, at + Math.floor(chunkBytes / listEntryBytes) * listEntryBytes);
      yield* ask.sendFrame(
        encodeFrame({ type: "list", sequence: sequence++, entries: body.length / listEntryBytes, body }),
      );
      at += body.length;
    }
    after = entries.subarray(entries.length - listEntryBytes, entries.length - listEntryBytes + idBytes);
  }
}

/** The ids that a fetch names, which follow it in frames. */
function* receiveIds(count: number | null): Steps<Buffer | null> {
  if (count === null) return null;
  const parts: Buffer[] = [];
  let received = 0;
  for (let sequence = 0; received < count; sequence++) {
    const incoming = yield* ask.receive();
    if (!("binary" in incoming)) throw violation("a message came where frames of ids are due");
    const frame = decodeFrame(incoming.binary, ["ids"], sequence);
    received += frame.entries;
    if (received > count) throw violation("more ids came than the fetch says");
    parts.push(frame.body);
  }
  const ids = Buffer.concat(parts);
  for (let at = idBytes; at < ids.length; at += idBytes) {
    if (ids.compare(ids, at, at + idBytes, at - idBytes, at) >= 0) throw violation("the ids of a fetch do not ascend");
  }
  return ids;
}

function* sendGrains(
  { id, hash, after }: Extract<Request, { type: "fetch" }>,
  wanted: Buffer | null,
): Steps<Refusal | undefined> {
  const stream = { id, hash, sequence: 0, grains: 0, bytes: 0 };
  let last = after === null ? null : Buffer.from(after.replaceAll("-", ""), "hex");
  for (;;) {
    const read: Read<Records> = yield* ask.readGrains(id, last, wanted);
    const refusal = judge(read.view, hash) ?? (yield* sendRecords(stream, read.data));
    if (refusal !== undefined) return refusal;
    const { bytes, ends } = read.data;
    if (ends.length === 0) break;
    // A record's id stands behind the field count and the id's length.
    const lastStart = ends.at(-2) ?? 0;
    last = Buffer.from(bytes.subarray(lastStart + 6, lastStart + 6 + idBytes));
  }
  if (wanted !== null && stream.grains !== wanted.length / idBytes) return "changed";
  yield* ask.send({ type: "end", id, grains: stream.grains, bytes: stream.bytes });
  return undefined;
}

interface Stream {
  id: string;
  hash: string;
  sequence: number;
  grains: number;
  bytes: number;
}

/** Packs records into frames, a chunked grain last in its frame and followed by its chunks. */
function* sendRecords(stream: Stream, { bytes, ends }: Records): Steps<Refusal | undefined> {
  let start = 0;
  let from = 0;
  for (let i = 0; i < ends.length; i++) {
    const end = ends[i]!;
    const nextEnd = ends[i + 1];
    // NULL for the payload: the record ends with its length field.
    const chunked =
      bytes.readUInt32BE(end - 4) === 0xffffffff && isChunked(bytes.subarray(i === 0 ? 0 : ends[i - 1]!, end));
    if (!chunked && nextEnd !== undefined && nextEnd - start <= maxBodyBytes) continue;
    const frame = {
      type: "grains" as const,
      sequence: stream.sequence++,
      entries: i + 1 - from,
      body: bytes.subarray(start, end),
    };
    const records = readRecords(frame);
    const refusal = yield* sendFrame(stream, encodeFrame(frame));
    if (refusal !== undefined) return refusal;
    stream.grains += records.length;
    for (const record of records) stream.bytes += record.payloadBytes;
    if (chunked) {
      const late = yield* sendChunks(stream, records.at(-1)!.id, records.at(-1)!.payloadBytes);
      if (late !== undefined) return late;
    }
    start = end;
    from = i + 1;
  }
  return undefined;
}

function isChunked(record: Buffer): boolean {
  return readRecords({ type: "grains", sequence: 0, entries: 1, body: record })[0]!.chunked;
}

function* sendChunks(stream: Stream, grainId: Buffer, payloadBytes: number): Steps<Refusal | undefined> {
  for (let sent = 0, n = 0; sent < payloadBytes; n++) {
    const { view, data } = yield* ask.readChunk(stream.id, grainId, n);
    const refusal = judge(view, stream.hash);
    if (refusal !== undefined) return refusal;
    sent += data.length;
    yield* ask.sendFrame(encodeFrame({ type: "chunk", sequence: stream.sequence++, entries: 1, body: data }));
  }
  return undefined;
}

/** Sends a frame of a slice if the partner may still have it at this very moment. */
function* sendFrame(stream: Stream, frame: Buffer): Steps<Refusal | undefined> {
  const [view] = yield* ask.look([stream.id]);
  const refusal = judge(view, stream.hash);
  if (refusal !== undefined) return refusal;
  yield* ask.sendFrame(frame);
  return undefined;
}
