/** What an evil secondary does to a primary. */
import { uuidBytes } from "../../../src/ids.ts";
import { firstCells } from "../../../src/slices/rules/sketch.ts";
import { type EntryFrame, encodeFrame } from "../../../src/sync/protocol/frames.ts";
import type { EvilSecondary } from "./evil-secondary.ts";
import { bent, ofNobody, packed } from "./primary-script.ts";

/** One thing that an evil secondary does; what it may know is in `self`. */
export interface SecondaryMove {
  name: string;
  /** How soon, if not at once. */
  withinMs?: number;
  /** What the primary closes with. */
  close: number;
  do(self: EvilSecondary): Promise<void>;
}

const ids = (...texts: string[]) => Buffer.concat(texts.map(uuidBytes));
const frame = (type: EntryFrame, body: Buffer, sequence = 0) =>
  encodeFrame({ type, sequence, entries: body.length / 16, body });

/** Moves that begin after an honest comparison. */
const after = (name: string, work: (self: EvilSecondary) => Promise<void> | void, close = 4400): SecondaryMove => ({
  name,
  close,
  do: async (self) => {
    await self.compare();
    await work(self);
  },
});

const compareMoves: SecondaryMove[] = [
  { name: "honest", close: 1000, do: (self) => self.copy("few") },
  { name: "a frame first", close: 4400, do: async (self) => self.send(Buffer.alloc(64)) },
  { name: "no JSON", close: 4400, do: async (self) => self.send('{"type":"comp') },
  { name: "a message that is not known", close: 4400, do: async (self) => self.send({ type: "hello" }) },
  { name: "a request before the comparison", close: 4400, do: async (self) => self.reconcile("few", "list") },
  {
    name: "arrays of several lengths",
    close: 4400,
    do: async (self) => self.send({ ...self.comparison(), counts: [] }),
  },
  {
    name: "a slice twice",
    close: 4400,
    do: async (self) => self.send(self.comparison([self.id("few"), self.id("few")])),
  },
  {
    name: "more slices than may be",
    close: 4400,
    do: async (self) =>
      self.send(
        self.comparison(
          Array.from({ length: 101 }, (_, i) => `00000000-0000-4000-8000-${String(i).padStart(12, "0")}`),
        ),
      ),
  },
  {
    name: "another's slices, and those of nobody",
    close: 1000,
    do: async (self) => {
      await self.compare([self.foreign, ofNobody]);
      for (const id of [self.foreign, ofNobody]) {
        for (const want of ["content", "list", "cells"])
          self.send({ type: "reconcile", id, hash: self.hash("few"), want });
        self.send({ type: "cells", id, hash: self.hash("few"), first: 0, end: 9 });
        self.send({ type: "fetch", id, hash: self.hash("few"), by: "all", count: 1, after: null });
        self.send(self.confirmation(id));
      }
    },
  },
  after("a second comparison", (self) => self.send(self.comparison())),
  {
    name: "the same hash with another count",
    close: 1000,
    do: async (self) => {
      await self.hear("begin");
      const [hashes, counts] = [[self.hash("few")], [self.count("few") + 1]];
      self.send({ ...self.comparison([self.id("few")]), hashes, counts });
      const { slices } = (await self.hear("compared")) as { slices: object[] };
      if (slices.length !== 1) throw new Error("the primary takes another count for the same slice");
    },
  },
  after("a reply to no question", (self) => self.send({ type: "compared", slices: [] })),
  after("a message of 9 MiB", (self) => self.send("x".repeat(9 * 1024 * 1024)), 1009),
];

const requestMoves: SecondaryMove[] = [
  after("more cells than a list would weigh", (self) =>
    self.send({ type: "cells", id: self.id("many"), hash: self.hash("many"), first: firstCells, end: 100_000 }),
  ),
  after("cells that end before they begin", (self) =>
    self.send({ type: "cells", id: self.id("many"), hash: self.hash("many"), first: 5, end: 5 }),
  ),
  after("more grains than there are", (self) => self.fetch("few", "ids", 10_000)),
  after("a message among the ids", (self) => {
    self.fetch("few", "ids", 2);
    self.send({ type: "bye" });
  }),
  after("more ids than were said", (self) => {
    self.fetch("few", "ids", 1);
    self.send(frame("ids", ids(self.grain(0), self.grain(1))));
  }),
  after("ids that do not ascend", (self) => {
    self.fetch("few", "ids", 2);
    self.send(frame("ids", ids(self.grain(1), self.grain(0))));
  }),
  after("a fetch by symbols, as in version 1", (self) =>
    self.send({ ...self.fetching("many", "all", 2), by: "symbols" }),
  ),
  after(
    "a recount of another's slice, and many of its own",
    async (self) => {
      self.send({ type: "recount", id: self.foreign, hash: self.hash("few") });
      await self.hear("refused");
      for (let i = 0; i < 50; i++) {
        self.send({ type: "recount", id: self.id("many"), hash: self.hash("many") });
        await self.hear("recounted");
      }
    },
    1000,
  ),
  after("frames in another order", (self) => {
    self.fetch("few", "ids", 2);
    self.send(frame("ids", ids(self.grain(0)), 1));
  }),
  after("a frame twice", (self) => {
    self.fetch("few", "ids", 3);
    for (let i = 0; i < 2; i++) self.send(frame("ids", ids(self.grain(0))));
  }),
  after("a frame of grains", (self) => {
    self.fetch("few", "ids", 1);
    self.send(
      bent({ type: "ids", sequence: 0, entries: 1, body: ids(self.grain(0)) }, (bytes) => void bytes.writeUInt8(3, 0)),
    );
  }),
  after("a compressed frame", (self) => {
    self.fetch("few", "ids", 1);
    self.send(packed({ type: "ids", sequence: 0, entries: 1, body: Buffer.alloc(0) }, Buffer.alloc(16), 16));
  }),
  after("an empty frame", (self) => {
    self.fetch("few", "ids", 1);
    self.send(frame("ids", Buffer.alloc(0)));
  }),
  after("a frame that is cut", (self) => {
    self.fetch("few", "ids", 1);
    self.send(frame("ids", ids(self.grain(0))).subarray(0, 20));
  }),
  after("a chunk of a grain that has none", (self) =>
    self.send({ ...self.fetching("few", "all", 1), after: self.grain(0), chunk: 1 }),
  ),
  after("a chunk beyond the last", (self) =>
    self.send({ ...self.fetching("file", "all", 1), after: self.largeGrain, chunk: 1_000_000 }),
  ),
  after(
    "grains of another slice",
    async (self) => {
      self.fetch("few", "ids", 1);
      self.send(frame("ids", ids(self.foreignGrain)));
      await self.hear("refused");
    },
    1000,
  ),
  after(
    "a message after bye",
    (self) => {
      self.send({ type: "bye" });
      self.reconcile("few", "list");
    },
    1000,
  ),
  after(
    "confirmations of what it does not have",
    async (self) => {
      self.send(self.confirmation(self.foreign));
      await self.hear("confirmed");
    },
    1000,
  ),
];

export const secondaryMoves: readonly SecondaryMove[] = [...compareMoves, ...requestMoves];
