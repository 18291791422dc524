/**
 * The secondary's side of a sync, as pure decisions: compare all slices in one round trip, then bring those that
 * differ up to date, one after another (primary-session.ts shows the order of messages). Each slice ends with a
 * result; what is wrong with one does not stop the next. Only what concerns the whole connection is thrown.
 */

import { asSandpiperError, type ErrorCode, SandpiperError } from "../../errors.ts";
import { uuidText } from "../../ids.ts";
import { idBytes, symbolBytes } from "../../slices/rules/hash.ts";
import { checkDifference } from "./check-difference.ts";
import { type Found, findDifference, type Target } from "./find-difference.ts";
import { entryFrames } from "./frames.ts";
import { refuse } from "./guards.ts";
import { idCount } from "./id-lists.ts";
import { maxAttempts } from "./limits.ts";
import { type Confirm, frameCompression, protocolVersion, type Refusal, violation } from "./messages.ts";
import { receiveGrains } from "./receive-grains.ts";
import {
  ask,
  expect,
  type LocalSlice,
  type SecondaryFacts,
  type SliceResult,
  type StagedSoFar,
  type Talk,
  take,
} from "./secondary-port.ts";

/** Syncs the slices of a run. @throws what ends the connection; slices that were not `finished` were not reached. */
export function* secondarySession(facts: SecondaryFacts): Talk<void> {
  yield* greet(facts);
  if (!facts.options.rehearsal) {
    for (const confirm of yield* ask.readOutbox()) yield* sendConfirm(facts, confirm);
  }
  const differing = yield* compare(facts);
  for (const { slice, state, hash, count } of differing) {
    const done =
      state === "differs"
        ? yield* syncSlice(facts, slice, { hash: hash!, count: count! })
        : refusedResult(slice, state);
    const final = yield* ask.finished(done);
    if (final && done.outcome !== "unchanged")
      yield* sendConfirm(facts, confirmation(facts, done, yield* ask.elapsedMs()));
  }
  // From here on the data is in place whatever happens: a confirmation that gets lost is in the outbox.
  while (facts.unconfirmed > 0) {
    const other = yield* take(facts, yield* ask.receive());
    if (other !== undefined)
      refuse("confirmed.due", violation(`the primary sent ${other.type} where confirmed is due`));
  }
  yield* ask.send({ type: "bye" });
}

function* greet(facts: SecondaryFacts): Talk<void> {
  let begin = yield* expect(facts, "begin", "queued");
  while (begin.type === "queued") {
    yield* ask.queued(begin.ahead);
    begin = yield* expect(facts, "begin", "queued");
  }
  if (begin.server_id !== facts.primaryId)
    refuse(
      "begin.server",
      violation(`the server is ${begin.server_id}, not the ${facts.primaryId} that was registered`),
    );
  if (begin.protocol.split(".")[0] !== protocolVersion.split(".")[0]) {
    refuse(
      "begin.protocol",
      new SandpiperError("protocol", `the primary speaks protocol ${begin.protocol}, this program ${protocolVersion}`, {
        hint: "Use the newer sandpiper on the older side.",
      }),
    );
  }
  if (facts.slices.length > begin.limits.slices) {
    refuse(
      "begin.slices",
      new SandpiperError(
        "limit",
        `${facts.slices.length} slices are due, and the primary compares at most ${begin.limits.slices} at once`,
        {
          hint: "Sync subscriptions one by one with --sub, or ask the primary to raise limits.max_subscriptions.",
        },
      ),
    );
  }
}

interface Differing {
  slice: LocalSlice;
  state: "differs" | "locked" | "unavailable";
  hash?: string;
  count?: number;
}

/** Asks about all slices at once, reports those that are the same, and returns the others in order. */
function* compare(facts: SecondaryFacts): Talk<Differing[]> {
  yield* ask.send({
    type: "compare",
    run_id: facts.runId,
    test: facts.options.rehearsal,
    program: facts.program,
    accept: [frameCompression],
    ids: facts.slices.map((slice) => slice.id),
    hashes: facts.slices.map((slice) => slice.hash),
    counts: facts.slices.map((slice) => slice.count),
  });
  const { slices } = yield* expect(facts, "compared");
  const answers = new Map(slices.map((answer) => [answer.id, answer]));
  const asked = new Set(facts.slices.map((slice) => slice.id));
  if (answers.size !== slices.length) refuse("compared.twice", violation("the primary answered for a slice twice"));
  if (slices.some((answer) => !asked.has(answer.id)))
    refuse("compared.asked", violation("the primary answered for a slice that was not asked about"));
  const differing: Differing[] = [];
  for (const slice of facts.slices) {
    const answer = answers.get(slice.id);
    if (answer === undefined) yield* ask.finished(result(slice, "unchanged"));
    else differing.push({ slice, ...answer });
  }
  return differing;
}

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
function* syncSlice(facts: SecondaryFacts, slice: LocalSlice, first: Target): Talk<SliceResult> {
  // While grains stream, an error leaves frames on the way that nobody waits for: then the connection is given up.
  const stream = { open: false };
  try {
    let target = first;
    let byList = false;
    for (let attempt = 1; attempt <= maxAttempts; attempt++) {
      const done = yield* attemptSlice(facts, slice, target, byList, stream);
      if (!("again" in done)) return done;
      if (done.again === "by list") byList = true;
      else if (done.again !== "changed") return refusedResult(slice, done.again);
      target = done.now ?? target;
    }
    return refusedResult(slice, "changed");
  } catch (thrown) {
    const error = asSandpiperError(thrown);
    const failed = { ...result(slice, "failed"), error };
    if (!stream.open && !fatal.includes(error.code)) return failed;
    yield* ask.finished(failed);
    throw error;
  }
}

/** A result, or why it should be tried again, or was refused. */
type Attempt = SliceResult | { again: Refusal | "by list"; now: Target | undefined };

function* attemptSlice(
  facts: SecondaryFacts,
  slice: LocalSlice,
  target: Target,
  byList: boolean,
  stream: { open: boolean },
): Talk<Attempt> {
  stream.open = true;
  const found = yield* findDifference(facts, slice, target, byList);
  stream.open = false;
  if ("refused" in found) return { again: found.refused, now: found.now };
  const { content, wanted, removed } = found;
  const counts = { added: countOf(found), removed: idCount(removed) };
  const wrong = checkDifference(facts, slice, found, counts);
  // Coded symbols may be peeled wrongly, once in a very long while; a list is not.
  if (wrong !== undefined && wanted.by === "symbols") return { again: "by list", now: undefined };
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
      return { again: received.refused, now: received.now };
    }
    bytes = received.bytes;
  }
  yield* ask.closeStage();
  const holds = { ...result({ ...slice, hash: content.hash, count: content.count }, "updated"), ...counts, bytes };
  try {
    yield* ask.apply(slice, { content, removed }, confirmation(facts, holds, yield* ask.elapsedMs()));
  } catch (error) {
    // Wrong may be what was peeled, or what an earlier run had staged: that is cleared now.
    const mayBeOurs = wanted.by === "symbols" || staged.after !== null;
    if (mayBeOurs && asSandpiperError(error).code === "verification") return { again: "by list", now: undefined };
    throw error;
  }
  return holds;
}

const countOf = ({ content, wanted }: Found): number =>
  wanted.by === "all" ? content.count : wanted.named.length / (wanted.by === "ids" ? idBytes : symbolBytes);

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
  if (wanted.by !== "all") for (const frame of entryFrames(wanted.by, wanted.named)) yield* ask.sendFrame(frame);
}

const result = (slice: LocalSlice, outcome: SliceResult["outcome"]): SliceResult => ({
  slice,
  outcome,
  added: 0,
  removed: 0,
  bytes: 0,
});

function refusedResult(slice: LocalSlice, reason: Refusal): SliceResult {
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

/** What the primary is told about a slice. */
function confirmation(facts: SecondaryFacts, done: SliceResult, durationMs: number): Confirm {
  return {
    type: "confirm",
    run_id: facts.runId,
    id: done.slice.id,
    test: facts.options.rehearsal,
    outcome: done.outcome === "unchanged" ? "updated" : done.outcome,
    hash: done.slice.hash,
    count: done.slice.count,
    added: sayable(done.added),
    removed: sayable(done.removed),
    bytes: sayable(done.bytes),
    duration_ms: sayable(Math.max(0, Math.round(durationMs))),
    // The primary learns what kind of failure it was; our own messages stay here.
    message: done.error?.code ?? "",
  };
}

/** The largest number that a message may hold in place of a larger one: what cannot be said would be tried again for ever. */
const sayable = (number: number): number => Math.min(number, Number.MAX_SAFE_INTEGER);

function* sendConfirm(facts: SecondaryFacts, confirm: Confirm): Talk<void> {
  facts.unconfirmed++;
  yield* ask.send(confirm);
}
