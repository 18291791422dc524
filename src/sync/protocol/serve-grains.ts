/** The primary's answer to a fetch: the grains that were asked for, ascending by id, in frames. Pure. */

import { asSandpiperError } from "../../errors.ts";
import { uuidBytes, uuidText } from "../../ids.ts";
import { joined, type Pieces, ranged } from "../../pieces.ts";
import { idBytes } from "../../slices/rules/hash.ts";
import { lastIdOf, type Records } from "../../slices/rules/records.ts";
import { chunkBytes } from "../../slices/rules/slice.ts";
import { decodeFrame, encodeFrame, type GrainRecord, newRecord, readRecord, usualBodyBytes } from "./frames.ts";
import { refuse } from "./guards.ts";
import { idsBeyond } from "./id-lists.ts";
import { type Refusal, type SecondaryMessage, violation } from "./messages.ts";
import { ask, damaged, inTurns, judge, type Read, type SliceView, type Talk } from "./primary-port.ts";

/** One stream of frames of a slice. */
interface Stream {
  id: string;
  hash: string;
  sequence: number;
  grains: number;
  bytes: number;
}

type Request = Extract<SecondaryMessage, { type: "fetch" }>;

/** @throws `protocol` when what is asked for cannot be meant. */
export function* serveGrains(request: Request): Talk<Refusal | undefined> {
  const { id, hash, by, count } = request;
  // Where nothing is named, and nothing sent before the grains, what reads them judges.
  const { refusal, failure } = by === "all" && request.after === null ? {} : yield* mayServe(request);
  // What was named has to be read off the line even if it is not served.
  const served = refusal === undefined && failure === undefined;
  const wanted = by === "all" ? null : yield* receiveIds(count, served);
  if (failure !== undefined) throw failure;
  if (refusal !== undefined) return refusal;
  const stream = { id, hash, sequence: 0, grains: 0, bytes: 0 };
  const after = request.after === null ? null : uuidBytes(request.after);
  if (after !== null && request.chunk !== undefined) {
    const cut = yield* sendRest(stream, after, request.chunk);
    if (cut !== undefined) return cut;
  }
  return yield* sendGrains(stream, after, wanted === null ? null : idsBeyond(wanted, after));
}

/** Whether a fetch is served, or why not; `failure` when that could not be found out. @throws `protocol` when it names more grains than there are. */
function* mayServe({ id, hash, by, count }: Request): Talk<{ refusal?: Refusal | undefined; failure?: unknown }> {
  let view: SliceView | undefined;
  try {
    [view] = yield* ask.look([id]);
  } catch (failure) {
    return { failure };
  }
  const refusal = judge(view, hash);
  if (refusal === undefined && by !== "all" && count > view!.count)
    refuse("fetch.number", violation("more grains were asked for than there are"));
  return { refusal };
}

/** The ids that follow a fetch, ascending; forgotten as they come unless `keep`. */
function* receiveIds(count: number, keep: boolean): Talk<Buffer> {
  const parts: Buffer[] = [];
  let received = 0;
  for (let sequence = 0; received < count; sequence++) {
    const incoming = yield* ask.receive();
    if (!("binary" in incoming)) refuse("fetch.interrupted", violation("a message came where frames of ids are due"));
    const frame = decodeFrame(incoming.binary, ["ids"], sequence);
    received += frame.entries;
    if (received > count) refuse("fetch.entries", violation("more ids came than the fetch says"));
    if (!keep) continue;
    const { body } = frame;
    const last = parts.at(-1);
    const follows = last === undefined || last.compare(body, 0, idBytes, last.length - idBytes) < 0;
    if (!follows || !(yield* inTurns(ascend(body))))
      refuse("fetch.order", violation("the ids of a fetch do not ascend"));
    parts.push(body);
  }
  return yield* inTurns(joined(parts));
}

/** Whether ids ascend. */
function* ascend(ids: Buffer): Pieces<boolean> {
  let fine = true;
  yield* ranged(ids.length / idBytes, 16_384, (from, to) => {
    for (let at = Math.max(1, from) * idBytes; at < to * idBytes && fine; at += idBytes)
      fine = ids.compare(ids, at, at + idBytes, at - idBytes, at) < 0;
  });
  return fine;
}

function* sendGrains(stream: Stream, after: Buffer | null, wanted: Buffer | null): Talk<Refusal | undefined> {
  const { id, hash } = stream;
  for (let last = after; ; ) {
    const read: Read<Records> = yield* ask.readGrains(id, last, wanted);
    const refusal = judge(read.view, hash);
    if (refusal !== undefined) return refusal;
    // How many are left of a whole slice is not known when some are not sent again: then the last read finds nothing.
    const due = wanted === null ? (after === null ? read.view!.count : undefined) : wanted.length / idBytes;
    const next = lastIdOf(read.data);
    const found = stream.grains + read.data.ends.length;
    if (wanted === null && due !== undefined && (found > due || (next === null && found < due)))
      throw damaged(`slice ${id} has ${found} grains, and says ${due}`);
    const late = yield* sendRecords(stream, read.data);
    if (late !== undefined) return late;
    if (next === null || stream.grains === due) break;
    last = next;
  }
  if (wanted !== null && stream.grains !== wanted.length / idBytes) return "changed";
  yield* ask.send({ type: "end", id, grains: stream.grains, bytes: stream.bytes });
  return undefined;
}

/** Packs records into frames, a chunked grain last in its frame and followed by its chunks. */
function* sendRecords(stream: Stream, { bytes, ends }: Records): Talk<Refusal | undefined> {
  const record = newRecord();
  let start = 0;
  let entries = 0;
  let payload = 0;
  for (let i = 0; i < ends.length; i++) {
    readOwn(stream.id, bytes, record.end, record);
    const { end, chunked } = record;
    entries++;
    payload += record.payloadBytes;
    if (!chunked && i + 1 < ends.length && ends[i + 1]! - start <= usualBodyBytes) continue;
    const frame = { type: "grains" as const, sequence: stream.sequence++, entries, body: bytes.subarray(start, end) };
    yield* ask.sendFrame(encodeFrame(frame));
    stream.grains += entries;
    stream.bytes += payload;
    if (chunked) {
      const grainId = bytes.subarray(record.idAt, record.idAt + idBytes);
      const late = yield* sendChunks(stream, grainId, record.payloadBytes);
      if (late !== undefined) return late;
    }
    start = end;
    entries = 0;
    payload = 0;
  }
  return undefined;
}

/** Reads a record as the partner will. @throws `storage`, since what is wrong with it is our own damage, and no fault of the partner's. */
function readOwn(id: string, records: Buffer, start: number, into: GrainRecord): void {
  try {
    readRecord(records, start, into);
  } catch (error) {
    throw damaged(`a grain of slice ${id} is stored wrongly: ${asSandpiperError(error).message}`);
  }
}

/** Sends the chunks of a grain from chunk `first` on: the stream of an earlier run was cut off among them. */
function* sendRest(stream: Stream, grainId: Buffer, first: number): Talk<Refusal | undefined> {
  const { view, data } = yield* ask.readGrains(stream.id, null, grainId);
  const refusal = judge(view, stream.hash);
  if (refusal !== undefined) return refusal;
  const grain = newRecord();
  if (data.ends.length > 0) readOwn(stream.id, data.bytes, 0, grain);
  if (!grain.chunked || first * chunkBytes >= grain.payloadBytes)
    refuse("fetch.chunk", violation("a fetch goes on with a chunk that there is not"));
  return yield* sendChunks(stream, grainId, grain.payloadBytes, first);
}

function* sendChunks(stream: Stream, grainId: Buffer, payloadBytes: number, first = 0): Talk<Refusal | undefined> {
  for (let sent = first * chunkBytes, n = first; sent < payloadBytes; n++) {
    const { view, data } = yield* ask.readChunk(stream.id, grainId, n);
    const refusal = judge(view, stream.hash);
    if (refusal !== undefined) return refusal;
    const due = Math.min(chunkBytes, payloadBytes - sent);
    if (data.length !== due)
      throw damaged(
        `chunk ${n} of grain ${uuidText(grainId)} is ${data.length === 0 ? "not stored" : `stored with ${data.length} of ${due} bytes`}`,
      );
    sent += data.length;
    const frame = encodeFrame({ type: "chunk", sequence: stream.sequence++, entries: 1, body: data });
    yield* ask.sendFrame(frame);
  }
  return undefined;
}
