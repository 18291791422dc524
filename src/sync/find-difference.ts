/** The question "what differs?": asks the primary for a slice's content and, unless all of it is wanted, compares. Pure. */
import { SandpiperError } from "../errors.ts";
import { decodeFrame, idBytes, listEntryBytes } from "./frames.ts";
import { type Refusal, violation } from "./messages.ts";
import { compareLists, type Difference } from "./reconcile.ts";
import { ask, type Content, expect, type LocalSlice, type Run, type Steps, take } from "./secondary-port.ts";

/** What to fetch and delete; `wanted` null when it is everything. */
export interface Found {
  content: Content;
  wanted: Buffer | null;
  removed: Buffer;
}

export interface Refused {
  refused: Refusal;
  /** What the slice is now, when it changed. */
  hash: string | undefined;
}

/** @throws `protocol` when the primary's answer does not fit the question. */
export function* findDifference(run: Run, slice: LocalSlice, hash: string): Steps<Found | Refused> {
  const empty = slice.count === 0;
  yield* ask.send({ type: "reconcile", id: slice.id, hash, list: !empty });
  const content = yield* expect(run, "content", "refused");
  if (content.id !== slice.id) throw violation("the primary answered for another slice");
  if (content.type === "refused") return { refused: content.reason, hash: content.hash };
  if (content.hash !== hash) throw violation("the primary's content has another hash than was agreed");
  if (content.count > run.maxGrains) throw tooMany(slice, content.count, run.maxGrains);
  if (empty) return { content, wanted: null, removed: Buffer.alloc(0) };
  const remote = yield* receiveList(run, content.count);
  if (!Buffer.isBuffer(remote)) return remote;
  const local = yield* ask.readLocalList(slice);
  const difference: Difference = compareLists(local, remote);
  const everything = difference.wanted.length / idBytes === content.count && content.count > 0;
  return { content, wanted: everything ? null : difference.wanted, removed: difference.removed };
}

function* receiveList(run: Run, count: number): Steps<Buffer | Refused> {
  const list = Buffer.allocUnsafe(count * listEntryBytes);
  let at = 0;
  let sequence = 0;
  while (at < list.length) {
    const incoming = yield* ask.receive();
    if ("text" in incoming) {
      const message = yield* take(run, incoming);
      if (message === undefined) continue;
      if (message.type !== "refused") throw violation(`the primary sent ${message.type} in the middle of a list`);
      return { refused: message.reason, hash: message.hash };
    }
    const frame = decodeFrame(incoming.binary, ["list"], sequence++);
    if (at + frame.body.length > list.length) throw violation("the primary's list is longer than its count");
    frame.body.copy(list, at);
    at += frame.body.length;
  }
  return list;
}

const tooMany = (slice: LocalSlice, count: number, most: number) =>
  new SandpiperError("limit", `slice ${slice.name} has ${count} grains, more than the ${most} that are accepted`, {
    hint: "Raise limits.max_grains if that is right.",
  });
