/** What an evil primary does with the order of frames, with grains, lists and chunks. */
import { uuidBytes } from "../../../src/ids.ts";
import { tupleFields } from "../../../src/slices/rules/tuples.ts";
import type { Frame } from "../../../src/sync/protocol/frames.ts";
import type { Passing } from "./evil-primary.ts";
import {
  altered,
  at,
  few,
  file,
  fresh,
  grain,
  honest,
  inOrder,
  instead,
  insteadInOrder,
  inventedGrain,
  inventedLarge,
  lastByte,
  longerList,
  many,
  ofAnother,
  ofNobody,
  type PrimaryMove,
  poked,
  refilled,
  swappedEntries,
  withBody,
} from "./primary-script.ts";

/** Two frames of grains change places; with their numbers, or numbered as if they were right. */
const swapped = (numbered: boolean): Pick<PrimaryMove, "session"> => ({
  session: () => {
    let held: Passing | undefined;
    return (passing) => {
      if (passing.type !== "grains") return [honest(passing)];
      if (passing.n === 1) {
        held = passing;
        return [];
      }
      if (passing.n !== 2) return [passing.frame];
      const [first, second] = numbered
        ? [held!.frame.sequence, passing.frame.sequence]
        : [passing.frame.sequence, held!.frame.sequence];
      return [
        { ...passing.frame, sequence: first },
        { ...held!.frame, sequence: second },
      ];
    };
  },
});

const withId = (id: string) => (passing: Passing) => [poked(passing.frame, (body) => uuidBytes(id).copy(body, at.id))];

const orders: PrimaryMove[] = [
  ...[few, fresh].flatMap((slice) => [
    slice(
      "a frame twice",
      grain(({ frame }) => [frame, frame]),
    ),
    slice(
      "a frame twice, numbered anew",
      inOrder(({ frame }) => [frame, frame]),
    ),
    slice("two frames swapped", swapped(false)),
    slice("two frames swapped, numbered anew", swapped(true)),
    slice(
      "a frame left out",
      grain(() => []),
    ),
    slice(
      "a frame left out, numbered anew",
      inOrder(() => []),
    ),
    slice(
      "a byte of a payload changed",
      grain(({ frame }) => [poked(frame, lastByte)]),
      8,
    ),
    slice(
      "a byte of the last payload changed",
      grain(({ frame }) => [poked(frame, lastByte)], 3),
      8,
    ),
    slice(
      "a grain of nobody",
      inOrder(({ frame, n }) => [frame, inventedGrain(n, ofNobody)]),
    ),
    slice("more grains than there are", {
      ...insteadInOrder("grains", undefined, ({ frame }) => [frame]),
      session: () => (passing) =>
        passing.type === "end"
          ? [
              ...Array.from({ length: 40 }, (_, i) =>
                inventedGrain(
                  passing.message.grains + i,
                  `ffffffff-ffff-4fff-bfff-${String(i).padStart(12, "0")}`,
                  `more ${i}`,
                ),
              ),
              passing.message,
            ]
          : [honest(passing)],
    }),
    slice(
      "it ends early",
      instead("grains", 2, (p) => [{ type: "end", id: p.slice, grains: 2, bytes: 1 }, honest(p)]),
    ),
    slice(
      "it ends with another number",
      altered("end", ({ grains }) => ({ grains: grains + 1 })),
    ),
    slice(
      "it ends twice",
      instead("end", 0, ({ message }) => [message, message]),
    ),
    slice(
      "it ends another slice",
      altered("end", () => ({ id: ofNobody })),
    ),
    slice(
      "it refuses another slice",
      instead("grains", 1, (p) => [{ type: "refused", id: ofNobody, reason: "locked" }, honest(p)]),
    ),
    slice(
      "more bytes than were declared",
      altered("content", () => ({ bytes: 1 })),
    ),
    slice(
      "a grain of 2 GB",
      inOrder(({ frame }) => [inventedLarge(frame, 2 ** 31)]),
      11,
    ),
  ]),
  few("the id of another slice and primary, not asked for", inOrder(withId(ofAnother(50)))),
  few("the id of nobody, not asked for", inOrder(withId(ofNobody))),
  fresh("the id of another slice and primary, in a first copy", inOrder(withId(ofAnother(50)), 5), 8),
  fresh("the id of nobody at the end of a first copy", inOrder(withId(ofNobody), 8), 8),
  fresh(
    "two grains with one key",
    inOrder(({ frame }) => [refilled(frame, ([id, , ...rest]) => [id!, Buffer.from("part 0"), ...rest])]),
    8,
  ),
  few(
    "the key of a grain that is kept",
    inOrder(({ frame }) => [refilled(frame, ([id, , ...rest]) => [id!, Buffer.from("part 1"), ...rest])]),
    8,
  ),
];

const mib = 1024 * 1024;

/** Each grain of a difference becomes one of 4 MiB, and all of them are said to be little. */
const unfolded: Pick<PrimaryMove, "session"> = {
  session: () => {
    const larger = insteadInOrder("grains", undefined, ({ frame }) => [
      inventedLarge(frame, 4 * mib),
      ...Array.from({ length: 4 }, (): Frame => ({ type: "chunk", sequence: 0, entries: 1, body: Buffer.alloc(mib) })),
    ]).session!();
    return (passing) => (passing.type === "content" ? [{ ...passing.message, bytes: 9 * mib }] : larger(passing));
  },
};

const unfoldings: PrimaryMove[] = [
  {
    ...fresh(
      "a slice that would take more than the primary may have",
      altered("content", () => ({ bytes: 2 ** 50 })),
      11,
    ),
    says: /more than the 6 MB that it may take/,
  },
  {
    ...few("a difference that unfolds to more than it may have", unfolded, 11),
    says: /more than the 6 MB that it may take/,
  },
];

const questions: PrimaryMove[] = [
  few(
    "a message in the middle of a list",
    instead("list", 0, (p) => [{ type: "compared", slices: [] }, honest(p)]),
  ),
  few(
    "a longer list than there are grains",
    instead("list", 0, ({ frame }) => [longerList(frame, ofNobody)]),
  ),
  few(
    "a list that does not ascend",
    instead("list", 0, ({ frame }) => [swappedEntries(frame)]),
  ),
  few(
    "another check of a grain",
    instead("list", 0, ({ frame }) => [poked(frame, lastByte)]),
    0,
  ),
  few(
    "a list with a grain of another's in it",
    instead("list", undefined, ({ frame }) => [
      poked(frame, (body) => uuidBytes(ofNobody).copy(body, body.length - 24)),
    ]),
    7,
  ),
  many(
    "cells that nothing can be peeled from",
    instead("cells", undefined, ({ frame }) => [poked(frame, (body) => void body.fill(0x5a))]),
    0,
  ),
  many(
    "a byte of a payload changed, found by cells, and not by lists",
    grain(({ frame }) => [poked(frame, lastByte)]),
    0,
  ),
  many(
    "a byte of every payload changed",
    instead("grains", undefined, ({ frame }) => [poked(frame, lastByte)]),
    8,
  ),
  many("the id of another slice and primary, found by cells", inOrder(withId(ofAnother(50)))),
  many("a recount of another slice", {
    session: () => (passing) => {
      if (passing.type === "grains") return [poked(passing.frame, lastByte)];
      return [passing.type === "recounted" ? { ...passing.message, id: ofNobody } : honest(passing)];
    },
  }),
  many(
    "a recount that never ends",
    {
      session: () => (passing) => {
        if (passing.type === "grains") return [poked(passing.frame, lastByte)];
        return [passing.type === "recounted" ? { ...passing.message, was_right: false } : honest(passing)];
      },
    },
    8,
  ),
  file(
    "a chunk that is too short",
    instead("chunk", 0, ({ frame }) => [withBody(frame, (body) => body.subarray(1))]),
  ),
  file(
    "a chunk twice",
    insteadInOrder("chunk", 0, ({ frame }) => [frame, frame]),
  ),
  file(
    "a chunk left out",
    insteadInOrder("chunk", 0, () => []),
  ),
  file(
    "it ends among the chunks",
    instead("chunk", 1, (p) => [{ type: "end", id: p.slice, grains: 2, bytes: 1 }, honest(p)]),
  ),
  file(
    "a byte of a chunk changed",
    instead("chunk", 1, ({ frame }) => [poked(frame, lastByte)]),
    8,
  ),
  file(
    "a record behind one whose chunks follow",
    instead("grains", 0, ({ frame }) => {
      const [id] = tupleFields(frame.body, 0);
      const next = Buffer.from(id!);
      next[5]! += 1;
      const more = poked(inventedGrain(0, ofNobody), (body) => next.copy(body, at.id)).body;
      return [{ ...frame, entries: 2, body: Buffer.concat([frame.body, more]) }];
    }),
  ),
];

export const streamMoves: readonly PrimaryMove[] = [...orders, ...unfoldings, ...questions];
