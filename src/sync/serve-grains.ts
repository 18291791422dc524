/** The primary's answer to a fetch: the grains that were asked for, ascending by id, in frames. Pure. */
import { uuidBytes } from "../slices/slice.ts";
import {
  decodeFrame,
  encodeFrame,
  entryFrames,
  idBytes,
  listEntryBytes,
  maxBodyBytes,
  readRecords,
  symbolBytes,
} from "./frames.ts";
import { type Refusal, type SecondaryMessage, violation } from "./messages.ts";
import { ask, judge, type Read, type Records, type Steps } from "./primary-port.ts";
import { idsBeyond } from "./reconcile.ts";

/** One stream of frames of a slice. */
interface Stream {
  id: string;
  hash: string;
  sequence: number;
  grains: number;
  bytes: number;
}

/** @throws `protocol` when what is asked for cannot be meant. */
export function* serveGrains(request: Extract<SecondaryMessage, { type: "fetch" }>): Steps<Refusal | undefined> {
  const { id, hash, by, count } = request;
  const [view] = yield* ask.look([id]);
  const refusal = judge(view, hash);
  if (refusal === undefined && by !== "all" && count > view!.count)
    throw violation("more grains were asked for than there are");
  // What was named has to be read off the line even if it is not served.
  const named = by === "all" ? null : yield* receiveNamed(by, count, refusal === undefined);
  if (refusal !== undefined) return refusal;
  const stream = { id, hash, sequence: 0, grains: 0, bytes: 0 };
  const after = request.after === null ? null : uuidBytes(request.after);
  const wanted = by === "symbols" ? yield* sendNames(stream, named!) : named;
  if (typeof wanted === "string") return wanted;
  return yield* sendGrains(stream, after, wanted === null ? null : idsBeyond(wanted, after));
}

/** The ids or symbols that follow a fetch, ascending; forgotten as they come unless `keep`. */
function* receiveNamed(type: "ids" | "symbols", count: number, keep: boolean): Steps<Buffer> {
  const size = type === "ids" ? idBytes : symbolBytes;
  const parts: Buffer[] = [];
  let received = 0;
  for (let sequence = 0; received < count; sequence++) {
    const incoming = yield* ask.receive();
    if (!("binary" in incoming)) throw violation(`a message came where frames of ${type} are due`);
    const frame = decodeFrame(incoming.binary, [type], sequence);
    received += frame.entries;
    if (received > count) throw violation(`more ${type} came than the fetch says`);
    if (keep) parts.push(frame.body);
  }
  const named = Buffer.concat(parts);
  for (let at = size; at < named.length; at += size) {
    if (named.compare(named, at, at + size, at - size, at) >= 0)
      throw violation(`the ${type} of a fetch do not ascend`);
  }
  return named;
}

/** Says which grains have these symbols, so that the secondary knows what to expect; returns their ids. */
function* sendNames(stream: Stream, symbols: Buffer): Steps<Buffer | Refusal> {
  const { view, data: entries } = yield* ask.findSymbols(stream.id, symbols);
  const refusal = judge(view, stream.hash);
  if (refusal !== undefined) return refusal;
  if (entries.length / listEntryBytes !== symbols.length / symbolBytes) return "changed";
  const ids: Buffer[] = [];
  for (let at = 0; at < entries.length; at += listEntryBytes) ids.push(entries.subarray(at, at + idBytes));
  for (const frame of entryFrames("list", entries)) {
    yield* ask.sendFrame(frame);
    stream.sequence++;
  }
  return Buffer.concat(ids);
}

function* sendGrains(stream: Stream, after: Buffer | null, wanted: Buffer | null): Steps<Refusal | undefined> {
  const { id, hash } = stream;
  for (let last = after; ; ) {
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
