/**
 * The question "what differs?": asks the primary for a slice's content and finds out what to fetch and delete. An empty slice wants
 * all; small ones are compared by plain lists; all others by cells of their ids, which cost as much as the difference. When these
 * would weigh more than the list, the list is asked for. Pure.
 */

import { SandpiperError } from "../../errors.ts";
import type { Pieces } from "../../pieces.ts";
import { idBytes, listEntryBytes } from "../../slices/rules/hash.ts";
import { Cells, cellBytes, firstCells, keptCells } from "../../slices/rules/sketch.ts";
import { estimateDifference, peel } from "./coded-symbols.ts";
import { decodeFrame } from "./frames.ts";
import { refuse } from "./guards.ts";
import { idsOf } from "./id-lists.ts";
import { largeListBytes, mostCells } from "./limits.ts";
import { ListComparison } from "./list-comparison.ts";
import { type Refusal, type SecondaryMessage, violation } from "./messages.ts";
import {
  ask,
  type Content,
  expect,
  inTurns,
  type LocalSlice,
  type SecondaryFacts,
  type Talk,
  type Target,
  take,
} from "./secondary-port.ts";

/** What to fetch: all, or grains by ids, ascending. */
export type Wanted = { by: "all" } | { by: "ids"; named: Buffer };

export interface Found {
  content: Content;
  wanted: Wanted;
  /** Ids of local grains to delete, ascending. */
  removed: Buffer;
  /** It was found by cells, which are wrong once in a very long while, and do not see a grain whose content is not what its id says. */
  peeled: boolean;
}

export interface Refused {
  refused: Refusal;
  /** What the slice is now, when it changed. */
  now: Target | undefined;
}

/**
 * @param byList compares by plain lists whatever the size: the same cells would fail the same way.
 * @throws `protocol` when the primary's answer does not fit the question, `limit` for too many grains.
 */
export function* findDifference(
  facts: SecondaryFacts,
  slice: LocalSlice,
  target: Target,
  byList: boolean,
): Talk<Found | Refused> {
  if (target.count > facts.maxGrains) {
    refuse(
      "content.grains",
      new SandpiperError(
        "limit",
        `slice ${slice.name} has ${target.count} grains, more than the ${facts.maxGrains} that are accepted`,
        {
          hint: "Raise limits.max_grains if that is right.",
        },
      ),
    );
  }
  const want = question(slice, target, byList);
  if (want === "list") return yield* byLists(facts, slice, target);
  const content = yield* askContent(slice, target, want, facts);
  if ("refused" in content) return content;
  if (want === "content")
    return slice.count === 0
      ? { content, wanted: { by: "all" }, removed: Buffer.alloc(0), peeled: false }
      : yield* allOf(slice, content);
  return (yield* byCells(facts, slice, content)) ?? (yield* byLists(facts, slice, target));
}

type Want = Extract<SecondaryMessage, { type: "reconcile" }>["want"];

function question(slice: LocalSlice, target: Target, byList: boolean): Want {
  if (slice.count === 0) return "content";
  if (target.count > 4 * slice.count && target.count * listEntryBytes > largeListBytes) return "content";
  return byList || slice.count * listEntryBytes <= firstCells * cellBytes ? "list" : "cells";
}

function* askContent(
  slice: LocalSlice,
  { hash, count }: Target,
  want: Want,
  facts: SecondaryFacts,
): Talk<Content | Refused> {
  yield* ask.send({ type: "reconcile", id: slice.id, hash, want });
  const content = yield* expect(facts, "content", "refused");
  if (content.id !== slice.id) refuse("content.slice", violation("the primary answered for another slice"));
  if (content.type === "refused") return { refused: content.reason, now: nowOf(content) };
  if (content.hash !== hash || content.count !== count)
    refuse("content.agreed", violation("the primary's content has another hash or count than was agreed"));
  return content;
}

/** What a refusal says that the slice is now. */
export const nowOf = ({
  hash,
  count,
}: {
  hash?: string | undefined;
  count?: number | undefined;
}): Target | undefined => (hash === undefined || count === undefined ? undefined : { hash, count });

/** @returns undefined when a list would weigh less than the cells that it takes. */
function* byCells(facts: SecondaryFacts, slice: LocalSlice, content: Content): Talk<Found | Refused | undefined> {
  let remote = new Cells(firstCells);
  for (let first = 0; ; ) {
    // Before the primary's are taken off the line: it may be computing them meanwhile.
    const local = yield* ask.readLocalCells(slice, remote.length);
    const refused = yield* receiveCells(facts, content.id, remote, first);
    if (refused !== undefined) return refused;
    const difference = yield* inTurns(peel(remote, local));
    if (difference !== undefined) {
      const { onlyRemote, onlyLocal } = difference;
      return { content, wanted: { by: "ids", named: onlyRemote }, removed: onlyLocal, peeled: true };
    }
    const estimate = yield* inTurns(estimateDifference(remote, local, content.count - slice.count));
    first = remote.length;
    let end = Math.max(Math.ceil(first * 1.5), Math.ceil(estimate * 1.6));
    // What both sides have stored comes first, unless it would certainly not do: more is computed from all ids.
    if (first < keptCells && keptCells < end && estimate < keptCells) end = keptCells;
    // A list that is only a little more settles it for certain.
    if (end > mostCells || end * cellBytes * 1.5 > content.count * listEntryBytes) return undefined;
    yield* ask.send({ type: "cells", id: content.id, hash: content.hash, first, end });
    remote = remote.resized(end);
  }
}

/** Receives the cells from `first` on. */
function receiveCells(facts: SecondaryFacts, id: string, cells: Cells, first: number): Talk<Refused | undefined> {
  let at = first;
  return receiveEntries(facts, id, "cells", cells.length - first, (body) => {
    const from = at;
    at += body.length / cellBytes;
    return cells.decode(from, body);
  });
}

/** Fetches all, deletes all. */
function* allOf(slice: LocalSlice, content: Content): Talk<Found> {
  const list = yield* ask.readLocalList(slice);
  return { content, wanted: { by: "all" }, removed: yield* inTurns(idsOf(list)), peeled: false };
}

function* byLists(facts: SecondaryFacts, slice: LocalSlice, target: Target): Talk<Found | Refused> {
  // Before it is asked for: what is wrong with our own list must not leave the primary's on its way.
  const comparison = new ListComparison(yield* ask.readLocalList(slice));
  const content = yield* askContent(slice, target, "list", facts);
  if ("refused" in content) return content;
  const refused = yield* receiveEntries(facts, content.id, "list", content.count, (body) => comparison.take(body));
  if (refused !== undefined) return refused;
  const { wanted, removed } = yield* inTurns(comparison.end());
  const all = wanted.length / idBytes === content.count;
  return { content, wanted: all ? { by: "all" } : { by: "ids", named: wanted }, removed, peeled: false };
}

/** Receives exactly `count` entries in frames of one answer, each of which is given to `use`. */
function* receiveEntries(
  facts: SecondaryFacts,
  id: string,
  type: "list" | "cells",
  count: number,
  use: (body: Buffer) => Pieces<void>,
): Talk<Refused | undefined> {
  let received = 0;
  let sequence = 0;
  while (received < count) {
    const incoming = yield* ask.receive();
    if ("text" in incoming) {
      const message = yield* take(facts, incoming);
      if (message === undefined) continue;
      if (message.type !== "refused" || message.id !== id)
        refuse("frames.interrupted", violation(`the primary sent ${message.type} in the middle of frames`));
      return { refused: message.reason, now: nowOf(message) };
    }
    const frame = decodeFrame(incoming.binary, [type], sequence++);
    received += frame.entries;
    if (received > count)
      refuse("frames.entries-due", violation(`the primary sent more ${type} entries than were due`));
    yield* inTurns(use(frame.body));
  }
  return undefined;
}
