/** Receiving the stream of a slice's grains: every record is checked against what was asked for before it is staged. Pure. */

import { SandpiperError } from "../../errors.ts";
import { idBytes } from "../../slices/rules/hash.ts";
import { chunkBytes } from "../../slices/rules/slice.ts";
import { nowOf, type Refused, type Wanted } from "./find-difference.ts";
import { decodeFrame, type GrainRecord, readRecords } from "./frames.ts";
import { refuse } from "./guards.ts";
import { idsBeyond } from "./id-lists.ts";
import { violation } from "./messages.ts";
import { ask, type Content, type SecondaryFacts, type StagedSoFar, type Talk, take } from "./secondary-port.ts";

/** What has arrived, and what may still come. */
interface Progress {
  readonly content: Content;
  /** Ids asked for, ascending; null for the whole slice. */
  readonly wanted: Buffer | null;
  readonly due: number;
  grains: number;
  bytes: number;
  lastId: Buffer | null;
  /** The chunked grain whose chunks are arriving. */
  large: { id: Buffer; left: number; sequence: number } | null;
}

/**
 * Receives and stages grains until `end`.
 *
 * @param wanted what was asked for.
 * @param staged what is staged already, and does not come again.
 * @returns the payload bytes that arrived, when all are staged.
 * @throws `protocol` for a grain that was not asked for, is out of order, or comes beyond what was declared; `limit` for one that is too large.
 */
export function* receiveGrains(
  facts: SecondaryFacts,
  content: Content,
  wanted: Wanted,
  staged: StagedSoFar,
): Talk<Refused | { bytes: number }> {
  let sequence = 0;
  const ids = wanted.by === "ids" ? idsBeyond(wanted.named, staged.after) : null;
  const due = ids === null ? content.count - staged.grains : ids.length / idBytes;
  const progress: Progress = {
    content,
    wanted: ids,
    due,
    grains: 0,
    bytes: staged.bytes,
    lastId: staged.after,
    large: staged.large === null ? null : { id: staged.after!, ...staged.large },
  };
  for (;;) {
    const incoming = yield* ask.receive();
    if ("text" in incoming) {
      const message = yield* take(facts, incoming);
      if (message === undefined) continue;
      if (message.type === "refused" && message.id === content.id)
        return { refused: message.reason, now: nowOf(message) };
      if (message.type !== "end" || message.id !== content.id)
        refuse("grains.interrupted", violation(`the primary sent ${message.type} in the middle of a slice's grains`));
      if (progress.large !== null || progress.grains !== due || message.grains !== due) {
        refuse("grains.ended-early", violation(`the primary ended a slice after ${progress.grains} of ${due} grains`));
      }
      return { bytes: progress.bytes - staged.bytes };
    }
    const frame = decodeFrame(incoming.binary, [progress.large === null ? "grains" : "chunk"], sequence++);
    if (progress.large !== null) {
      yield* takeChunk(progress, frame.body);
      continue;
    }
    for (const record of readRecords(frame)) check(progress, record, frame.body, facts);
    progress.lastId = Buffer.from(progress.lastId!);
    yield* ask.stageGrains(frame.body, frame.entries);
  }
}

function check(progress: Progress, record: GrainRecord, body: Buffer, facts: SecondaryFacts): void {
  const { wanted, lastId, content } = progress;
  if (progress.grains === progress.due)
    refuse("grains.number", violation("the primary sent more grains than it declared"));
  if (lastId !== null && body.compare(lastId, 0, idBytes, record.idAt, record.idAt + idBytes) <= 0)
    refuse("grains.order", violation("grains do not come in ascending order of id"));
  if (
    wanted !== null &&
    wanted.compare(
      body,
      record.idAt,
      record.idAt + idBytes,
      progress.grains * idBytes,
      (progress.grains + 1) * idBytes,
    ) !== 0
  ) {
    refuse("grains.wanted", violation("the primary sent a grain that was not asked for, or left one out"));
  }
  if (record.payloadBytes > facts.maxGrainBytes) {
    refuse(
      "grain.bytes",
      new SandpiperError(
        "limit",
        `a grain has ${record.payloadBytes} bytes, more than the ${facts.maxGrainBytes} that are accepted`,
        { hint: "Raise limits.max_grain_bytes if that is right." },
      ),
    );
  }
  progress.bytes += record.payloadBytes;
  if (progress.bytes > content.bytes) refuse("grains.bytes", violation("the primary sent more bytes than it declared"));
  progress.grains++;
  progress.lastId = body.subarray(record.idAt, record.idAt + idBytes);
  if (record.chunked) progress.large = { id: Buffer.from(progress.lastId), left: record.payloadBytes, sequence: 0 };
}

function* takeChunk(progress: Progress, data: Buffer): Talk<void> {
  const large = progress.large!;
  if (data.length !== Math.min(chunkBytes, large.left))
    refuse("chunk.size", violation("a chunk does not have the size that is due"));
  yield* ask.stageChunk(large.id, large.sequence++, data);
  large.left -= data.length;
  if (large.left === 0) progress.large = null;
}
