/**
 * The secondary's side of a sync, as pure decisions: compare all slices in one round trip, then bring those that
 * differ up to date, one after another (primary-session.ts shows the order of messages). Each slice ends with a
 * result; what is wrong with one does not stop the next. Only what concerns the whole connection is thrown.
 */

import { SandpiperError } from "../../errors.ts";
import { confirmation } from "./confirmation.ts";
import { refuse } from "./guards.ts";
import { type Confirm, frameCompression, protocolVersion, violation } from "./messages.ts";
import { ask, expect, type LocalSlice, type SecondaryFacts, type Talk, take } from "./secondary-port.ts";
import { refusedResult, result, syncSlice } from "./sync-slice.ts";

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

function* sendConfirm(facts: SecondaryFacts, confirm: Confirm): Talk<void> {
  facts.unconfirmed++;
  yield* ask.send(confirm);
}
