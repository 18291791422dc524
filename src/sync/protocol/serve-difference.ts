/** The primary's answers to "what differs?": what a slice holds, the list of its grains, or cells of their ids. Pure. */

import { SandpiperError } from "../../errors.ts";
import { idBytes, listEntryBytes } from "../../slices/rules/hash.ts";
import { metadataExcess } from "../../slices/rules/metadata.ts";
import { cellBytes, firstCells } from "../../slices/rules/sketch.ts";
import { chunkBytes } from "../../slices/rules/slice.ts";
import { encodeFrame, entryFrames } from "./frames.ts";
import { refuse } from "./guards.ts";
import { type Refusal, type SecondaryMessage, violation } from "./messages.ts";
import { ask, damaged, judge, type Read, type Talk } from "./primary-port.ts";

type Request<T> = Extract<SecondaryMessage, { type: T }>;

/** Sends the content, and the list or the first cells if they are wanted. */
export function* serveContent({ id, hash, want }: Request<"reconcile">): Talk<Refusal | undefined> {
  const { view, data: metadata } = yield* ask.readMetadata(id);
  const refusal = judge(view, hash);
  if (refusal !== undefined) return refusal;
  const { count, bytes } = view!;
  const excess = metadataExcess(metadata);
  if (excess !== undefined) throw tooMuch(id, excess);
  yield* ask.send({ type: "content", id, hash, count, bytes, metadata: metadata.map(([key, value]) => [key, value]) });
  if (want === "list") return yield* sendList(id, hash, count);
  if (want === "cells") return yield* sendCells(id, hash, 0, firstCells);
  return undefined;
}

/** It was filled before there was a limit. */
const tooMuch = (id: string, excess: string) =>
  new SandpiperError("storage", `no partner can take slice ${id}: it has ${excess}`, {
    hint: "Remove some of it with `sandpiper slice meta NAME --unset KEY`.",
  });

/** Sends more cells. @throws `protocol` for more than a list would weigh. */
export function* serveCells({ id, hash, first, end }: Request<"cells">): Talk<Refusal | undefined> {
  const [view] = yield* ask.look([id]);
  const refusal = judge(view, hash);
  if (refusal !== undefined) return refusal;
  if (first >= end || end * cellBytes > view!.count * listEntryBytes)
    refuse("cells.number", violation("more cells were asked for than a list would weigh"));
  return yield* sendCells(id, hash, first, end);
}

function* sendCells(id: string, hash: string, first: number, end: number): Talk<Refusal | undefined> {
  const { view, data: cells } = yield* ask.readCells(id, end);
  const refusal = judge(view, hash);
  if (refusal !== undefined) return refusal;
  const each = Math.floor(chunkBytes / cellBytes);
  for (let at = first, sequence = 0; at < end; at += each, sequence++) {
    const to = Math.min(at + each, end);
    if (at > first) {
      // Cells may be many frames of one read.
      const late = judge((yield* ask.look([id]))[0], hash);
      if (late !== undefined) return late;
    }
    const body = cells.encode(at, to);
    yield* ask.sendFrame(encodeFrame({ type: "cells", sequence, entries: to - at, body }));
  }
  return undefined;
}

/** Sends exactly `count` entries: the partner waits for so many, and for nothing after them. */
function* sendList(id: string, hash: string, count: number): Talk<Refusal | undefined> {
  let sequence = 0;
  let sent = 0;
  for (let after: Buffer | null = null; sent < count; ) {
    const read: Read<Buffer> = yield* ask.readList(id, after);
    const refusal = judge(read.view, hash);
    if (refusal !== undefined) return refusal;
    const entries = read.data;
    const found = sent + entries.length / listEntryBytes;
    if (found === sent || found > count) throw damaged(`slice ${id} has ${found} grains, and says ${count}`);
    for (const frame of entryFrames("list", entries, sequence)) {
      yield* ask.sendFrame(frame);
      sequence++;
    }
    sent = found;
    after = entries.subarray(entries.length - listEntryBytes, entries.length - listEntryBytes + idBytes);
  }
  return undefined;
}

/** Counts the slice again, since what was listed of it did not make its hash. */
export function* serveRecount({ id, hash }: Request<"recount">): Talk<Refusal | undefined> {
  const [before] = yield* ask.look([id]);
  const refusal = judge(before, hash);
  if (refusal !== undefined) return refusal;
  const { view, data } = yield* ask.recount(id);
  if (view === undefined) return "unavailable";
  if (!data.wasRight) yield* ask.failed(id, damaged(`slice ${id} was not what its rows say; it is now`));
  yield* ask.send({ type: "recounted", id, hash: view.hash, count: view.count, was_right: data.wasRight });
  return undefined;
}
