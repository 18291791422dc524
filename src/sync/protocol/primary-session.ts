/**
 * The primary's side of a sync, as pure decisions. It answers one request of the partner at a time:
 *
 *     begin ->   <- compare   compared ->   { <- reconcile   content, list or cells frames ->   <- fetch [ids frames]
 *     grains and chunk frames, end ->   <- confirm   confirmed -> }   <- bye
 *
 * Rights are never remembered: the snapshot in which the data of a frame is read has the partner's view of the slice as well, and the
 * stream ends with `refused` when that is gone, locked or changed.
 */

import { asSandpiperError } from "../../errors.ts";
import { maxFrameBytes } from "./frames.ts";
import { refuse } from "./guards.ts";
import { compareSize } from "./limits.ts";
import {
  type Compared,
  frameCompression,
  protocolVersion,
  type Refusal,
  readSecondaryMessage,
  type SecondaryMessage,
  violation,
} from "./messages.ts";
import { ask, inTurns, type Talk } from "./primary-port.ts";
import { serveCells, serveContent, serveRecount } from "./serve-difference.ts";
import { serveGrains } from "./serve-grains.ts";

export interface PrimaryFacts {
  serverId: string;
  companyId: string;
  /** Most slices that one comparison may name. */
  maxSlices: number;
}

/** Serves one partner until it says bye. @throws `protocol` when the partner breaks the protocol. */
export function* primarySession(facts: PrimaryFacts): Talk<void> {
  yield* ask.send({
    type: "begin",
    protocol: protocolVersion,
    server_id: facts.serverId,
    company_id: facts.companyId,
    limits: { frame_bytes: maxFrameBytes, slices: facts.maxSlices },
    capabilities: [frameCompression],
  });
  const first = { compare: compareSize(facts.maxSlices) };
  let compared = false;
  for (;;) {
    const message = yield* inTurns(readSecondaryMessage(yield* ask.receive(), compared ? {} : first));
    if (message.type === "bye") return;
    if (message.type === "compare") {
      if (compared) refuse("compare.twice", violation("a second comparison in one session"));
      compared = true;
      if (message.accept.includes(frameCompression)) yield* ask.useCompression();
      yield* compare(message, facts.maxSlices);
    } else if (message.type === "confirm") {
      yield* ask.record(message);
      yield* ask.send({ type: "confirmed", id: message.id, run_id: message.run_id });
    } else {
      if (!compared) refuse("compare.first", violation(`${message.type} came before the comparison`));
      const refusal = yield* serve(message);
      if (refusal !== undefined) yield* answerRefusal(message.id, refusal);
    }
  }
}

function* answerRefusal(id: string, reason: Refusal): Talk<void> {
  const [now] = reason === "changed" ? yield* ask.look([id]) : [];
  yield* ask.send({ type: "refused", id, reason, ...(now === undefined ? {} : { hash: now.hash, count: now.count }) });
}

type Compare = Extract<SecondaryMessage, { type: "compare" }>;

function* compare(message: Compare, maxSlices: number): Talk<void> {
  const { ids, hashes, counts } = message;
  if (ids.length !== hashes.length || ids.length !== counts.length)
    refuse("compare.arrays", violation("the arrays of a comparison differ in length"));
  if (ids.length > maxSlices) refuse("compare.number", violation(`a comparison names more than ${maxSlices} slices`));
  if (new Set(ids).size !== ids.length) refuse("compare.slice-twice", violation("a comparison names a slice twice"));
  const views = new Map((yield* ask.look(ids)).map((view) => [view.id, view]));
  const slices = ids.flatMap((id, i): Compared[] => {
    const view = views.get(id);
    if (view === undefined) return [{ id, state: "unavailable" as const }];
    if (!view.allowSync) return [{ id, state: "locked" as const }];
    if (view.hash === hashes[i] && view.count === counts[i]) return [];
    return [{ id, state: "differs" as const, hash: view.hash, count: view.count, bytes: view.bytes }];
  });
  yield* ask.send({ type: "compared", slices });
  if (!message.test) yield* ask.recordHeld({ ids, hashes, counts });
}

/** Serves one request; what goes wrong with this slice is answered for this slice. */
function* serve(
  request: Extract<SecondaryMessage, { type: "reconcile" | "cells" | "fetch" | "recount" }>,
): Talk<Refusal | undefined> {
  try {
    if (request.type === "reconcile") return yield* serveContent(request);
    if (request.type === "cells") return yield* serveCells(request);
    if (request.type === "recount") return yield* serveRecount(request);
    return yield* serveGrains(request);
  } catch (error) {
    const found = asSandpiperError(error);
    if (found.code !== "storage" && found.code !== "internal") throw error;
    yield* ask.failed(request.id, found);
    return "failed";
  }
}
