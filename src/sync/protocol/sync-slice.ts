/**
 * Bringing one slice of a session up to date: what differs is found out, fetched and applied; whatever does not fit is tried again by a
 * surer way. Pure.
 */

import { asSandpiperError, type ErrorCode, SandpiperError } from "../../errors.ts";
import { uuidText } from "../../ids.ts";
import { idBytes } from "../../slices/rules/hash.ts";
import { checkDifference } from "./check-difference.ts";
import { confirmation } from "./confirmation.ts";
import { type Found, findDifference, nowOf, type Refused } from "./find-difference.ts";
import { entryFrames } from "./frames.ts";
import { refuse } from "./guards.ts";
import { idCount } from "./id-lists.ts";
import { maxAttempts } from "./limits.ts";
import { type Refusal, violation } from "./messages.ts";
import { receiveGrains } from "./receive-grains.ts";
import {
  ask,
  expect,
  type LocalSlice,
  type SecondaryFacts,
  type SliceResult,
  type StagedSoFar,
  type Talk,
  type Target,
} from "./secondary-port.ts";

/** Errors after which the connection cannot be used, or is not worth using. */
const fatal: readonly ErrorCode[] = [
  "protocol",
  "network",
  "timeout",
  "unavailable",
  "auth",
  "rate_limited",
  "internal",
  "interrupted",
  "terminated",
];

/** Brings one slice up to date. @throws what ends the connection, after the slice was `finished` as failed. */
export function* syncSlice(facts: SecondaryFacts, slice: LocalSlice, first: Target): Talk<SliceResult> {
  // While grains stream, an error leaves frames on the way that nobody waits for: then the connection is given up.
  const stream = { open: false };
  let damaged: SliceResult["damaged"];
  try {
    let here = slice;
    let target = first;
    let byList = false;
    let counted = false;
    for (let attempt = 1; attempt <= maxAttempts; attempt++) {
      const done = yield* attemptSlice(facts, here, target, byList, stream);
      if (!("again" in done)) return damaged === undefined ? done : { ...done, damaged };
      if (done.again === "by list") byList = true;
      else if (done.again === "recounted") {
        // A rehearsal puts nothing right.
        const found = counted || facts.options.rehearsal ? undefined : yield* recount(facts, here, target);
        if (found === undefined) throw done.error;
        ({ here, target, damaged } = found);
        counted = true;
        byList = false;
        attempt = 0;
      } else if (done.again !== "changed") return refusedResult(slice, done.again);
      else target = done.now ?? target;
    }
    return refusedResult(slice, "changed");
  } catch (thrown) {
    const error = asSandpiperError(thrown);
    const failed = { ...result(slice, "failed"), error, ...(damaged !== undefined && { damaged }) };
    if (!stream.open && !fatal.includes(error.code)) return failed;
    yield* ask.finished(failed);
    throw error;
  }
}

/**
 * Both sides count the slice again: what the primary lists does not make the hash that it says.
 *
 * @returns the slice as it is here, and what is to be reached; undefined when both had been right, or the primary does not count again.
 */
function* recount(
  facts: SecondaryFacts,
  slice: LocalSlice,
  target: Target,
): Talk<{ here: LocalSlice; target: Target; damaged: SliceResult["damaged"] } | undefined> {
  const { wasRight, hash, count } = yield* ask.recount(slice);
  yield* ask.send({ type: "recount", id: slice.id, hash: target.hash });
  const theirs = yield* expect(facts, "recounted", "refused");
  if (theirs.id !== slice.id) refuse("recounted.slice", violation("the primary counted another slice"));
  const now = nowOf(theirs);
  const there = theirs.type === "recounted" && !theirs.was_right;
  // It has changed, was counted for somebody else, or is refused: what comes next says which.
  const changed = theirs.type === "refused" || theirs.hash !== target.hash;
  if (wasRight && !there && !changed) return undefined;
  const damaged = wasRight && !there ? undefined : { here: !wasRight, there };
  return { here: { ...slice, hash, count }, target: now ?? target, damaged };
}

/** A result, or why it should be tried again, or was refused. */
type Attempt =
  | SliceResult
  | { again: Refusal | "by list"; now: Target | undefined }
  | { again: "recounted"; error: SandpiperError };

function* attemptSlice(
  facts: SecondaryFacts,
  slice: LocalSlice,
  target: Target,
  byList: boolean,
  stream: { open: boolean },
): Talk<Attempt> {
  stream.open = true;
  const found = yield* differenceOf(facts, slice, target, byList);
  stream.open = false;
  if ("again" in found) return found;
  if ("refused" in found) return { again: found.refused, now: found.now };
  const { content, wanted, removed } = found;
  const counts = { added: countOf(found), removed: idCount(removed) };
  const wrong = checkDifference(facts, slice, found, counts);
  if (wrong !== undefined && found.peeled) return { again: "by list", now: undefined };
  if (wrong !== undefined) throw wrong;
  if (facts.options.rehearsal) return { ...result(slice, "would-update"), ...counts };

  const due = { grains: counts.added, bytes: Math.ceil((content.bytes / Math.max(1, content.count)) * counts.added) };
  const staged = yield* ask.openStage(slice, content.hash, due);
  let bytes = 0;
  if (counts.added > 0) {
    stream.open = true;
    yield* sendFetch(slice, found, staged);
    const received = yield* receiveGrains(facts, content, wanted, staged);
    stream.open = false;
    if ("refused" in received) {
      yield* ask.closeStage();
      const { refused, now } = received;
      // What was asked for is not there, though nothing has changed: then it was peeled wrongly.
      const peeledWrongly = found.peeled && refused === "changed" && now?.hash === content.hash;
      return peeledWrongly ? { again: "by list", now: undefined } : { again: refused, now };
    }
    bytes = received.bytes;
  }
  yield* ask.closeStage();
  const holds = { ...result({ ...slice, hash: content.hash, count: content.count }, "updated"), ...counts, bytes };
  try {
    yield* ask.apply(slice, { content, removed }, confirmation(facts, holds, yield* ask.elapsedMs()));
  } catch (error) {
    const failed = asSandpiperError(error);
    if (failed.code !== "verification") throw error;
    // Wrong may be what was peeled, or what an earlier run had staged: that is cleared now.
    if (found.peeled || staged.after !== null) return { again: "by list", now: undefined };
    return { again: "recounted", error: failed };
  }
  return holds;
}

/** As {@link findDifference}; what is wrong with our own list is a reason to count it again. */
function* differenceOf(
  ...of: Parameters<typeof findDifference>
): Talk<Found | Refused | { again: "recounted"; error: SandpiperError }> {
  try {
    return yield* findDifference(...of);
  } catch (thrown) {
    const error = asSandpiperError(thrown);
    if (error.code === "verification") return { again: "recounted", error };
    throw thrown;
  }
}

const countOf = ({ content, wanted }: Found): number =>
  wanted.by === "all" ? content.count : wanted.named.length / idBytes;

function* sendFetch(slice: LocalSlice, found: Found, { after, large }: StagedSoFar): Talk<void> {
  const { content, wanted } = found;
  yield* ask.send({
    type: "fetch",
    id: slice.id,
    hash: content.hash,
    by: wanted.by,
    count: countOf(found),
    after: after === null ? null : uuidText(after),
    ...(large === null ? {} : { chunk: large.sequence }),
  });
  if (wanted.by !== "all") for (const frame of entryFrames("ids", wanted.named)) yield* ask.sendFrame(frame);
}

export const result = (slice: LocalSlice, outcome: SliceResult["outcome"]): SliceResult => ({
  slice,
  outcome,
  added: 0,
  removed: 0,
  bytes: 0,
});

export function refusedResult(slice: LocalSlice, reason: Refusal): SliceResult {
  const [outcome, code, message, hint] = refusalMeaning[reason];
  return { ...result(slice, outcome), error: new SandpiperError(code, message.replace("%", slice.name), { hint }) };
}

const refusalMeaning: Record<Refusal, ["denied" | "deferred" | "failed", ErrorCode, string, string]> = {
  unavailable: [
    "denied",
    "denied",
    "the primary does not let us have slice %",
    "Its data here is kept. Ask the primary whether the subscription has ended.",
  ],
  locked: [
    "deferred",
    "deferred",
    "slice % is being updated at the primary",
    "Its old content is still complete; the next run tries again.",
  ],
  changed: [
    "deferred",
    "deferred",
    "slice % kept changing at the primary while it was transferred",
    "Its old content is still complete; the next run tries again.",
  ],
  failed: [
    "failed",
    "unavailable",
    "the primary could not serve slice %",
    "Its old content is still complete; run again later, and tell the primary if it happens again.",
  ],
};
