/** Work on lists and ids in pieces: right wherever it is cut, and none of them long. */
import fc from "fast-check";
import t from "tap";
import { atOnce, joined, type Pieces } from "../../../src/pieces.ts";
import { addIds } from "../../../src/slices/cells.ts";
import { Cells } from "../../../src/slices/rules/sketch.ts";
import { estimateDifference, peel } from "../../../src/sync/protocol/coded-symbols.ts";
import { areApart, ascending, IdList, idsBeyond, idsOf } from "../../../src/sync/protocol/id-lists.ts";
import { ListComparison } from "../../../src/sync/protocol/list-comparison.ts";

const anyId = fc.oneof(
  fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes) => Buffer.from(bytes).toString("hex")),
  fc.nat(300).map((n) => n.toString(16).padStart(32, "0")),
  fc.nat(300).map((n) => n.toString(16).padEnd(32, "0")),
);
const bytesOf = (ids: readonly string[]) => Buffer.from(ids.join(""), "hex");

t.test("ids are put in order, and found", async (t) => {
  fc.assert(
    fc.property(fc.array(anyId), fc.array(anyId), (some, others) => {
      const inOrder = [...some].sort();
      const sorted = bytesOf(inOrder);
      t.ok(atOnce(ascending(bytesOf(some))).equals(sorted));
      const list = new IdList();
      for (let at = 0; at < sorted.length; at += 16) list.add(sorted, at);
      t.ok(atOnce(list.all()).equals(sorted));
      for (const value of [...some, ...others]) {
        const beyond = idsBeyond(sorted, Buffer.from(value, "hex"));
        t.ok(beyond.equals(bytesOf(inOrder.filter((id) => id > value))));
      }
      t.equal(idsBeyond(sorted, null), sorted);
      const once = new Set(some).size === some.length && new Set(others).size === others.length;
      const apart = once && !some.some((value) => others.includes(value));
      t.equal(atOnce(areApart(sorted, bytesOf([...others].sort()))), apart);
    }),
    { numRuns: 100 },
  );
});

/** A list with these ids, whose checks are of the ids but for those that are damaged. */
const listOf = (ids: readonly number[], damaged: ReadonlySet<number> = new Set()) => {
  const list = Buffer.alloc(ids.length * 24);
  for (const [i, id] of ids.entries()) {
    list.writeUInt32BE(id, i * 24 + 12);
    list.writeUInt32BE(id * 7 + (damaged.has(id) ? 1 : 0), i * 24 + 20);
  }
  return list;
};
const numbers = (ids: Buffer) => Array.from({ length: ids.length / 16 }, (_, i) => ids.readUInt32BE(i * 16 + 12));
const someIds = fc.uniqueArray(fc.nat(200)).map((ids) => ids.sort((a, b) => a - b));

t.test("lists are compared as they come, wherever they are cut", async (t) => {
  fc.assert(
    fc.property(someIds, someIds, fc.array(fc.nat(200)), fc.array(fc.nat(20)), (here, there, bad, cuts) => {
      const damaged = new Set(bad);
      const comparison = new ListComparison(listOf(here));
      const remote = listOf(there, damaged);
      let at = 0;
      for (const cut of [...cuts, there.length]) {
        const piece = remote.subarray(at, at + cut * 24);
        if (piece.length > 0) atOnce(comparison.take(piece));
        at += piece.length;
      }
      const { wanted, removed } = atOnce(comparison.end());
      const same = (id: number) => here.includes(id) && there.includes(id) && !damaged.has(id);
      t.same(
        numbers(wanted),
        there.filter((id) => !same(id)),
      );
      t.same(
        numbers(removed),
        here.filter((id) => !same(id)),
      );
    }),
    { numRuns: 200 },
  );
  for (const wrong of [
    [1, 3, 2],
    [1, 1],
  ]) {
    for (const cut of [1, 2, 3]) {
      const comparison = new ListComparison(listOf([2]));
      const list = listOf(wrong);
      t.throws(
        () => {
          for (let at = 0; at < list.length; at += cut * 24) atOnce(comparison.take(list.subarray(at, at + cut * 24)));
        },
        { code: "protocol", message: /does not ascend/ },
      );
    }
  }
});

t.test("parts are joined", async (t) => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array()), (parts) => {
      const buffers = parts.map((part) => Buffer.from(part));
      const expected = Buffer.concat(buffers);
      t.ok(atOnce(joined(buffers)).equals(expected));
    }),
  );
});

/** As many grains as the largest catalogues have. */
const million = 1_000_000;

/** A list of a million grains whose checks are as good as random. */
function large(from: number): Buffer {
  const list = Buffer.alloc(million * 24);
  for (let i = 0; i < million; i++) {
    const id = from + i;
    list.writeUInt32BE(id, i * 24);
    list.writeUInt32BE(Math.imul(id ^ (id >>> 15), 0x2c1b3c6d) >>> 0, i * 24 + 16);
    list.writeUInt32BE(Math.imul(id ^ (id >>> 12), 0x297a2d39) >>> 0, i * 24 + 20);
  }
  return list;
}

/** The longest piece, in milliseconds of work: others work on this machine as well, and what is garbage is collected at some time. */
function longestOf(work: () => Pieces<unknown>): number {
  let best = Number.POSITIVE_INFINITY;
  for (let n = 0; n < 4 && best > 10; n++) {
    const pieces = work();
    let longest = 0;
    for (let done = false; !done; ) {
      const before = process.cpuUsage();
      done = pieces.next().done === true;
      const { user, system } = process.cpuUsage(before);
      longest = Math.max(longest, (user + system) / 1000);
    }
    best = Math.min(best, longest);
  }
  return best;
}

t.test("no piece is long, though there are a million grains", async (t) => {
  const [here, there] = [large(0), large(300_000)];
  const [ids, others] = [atOnce(idsOf(here)), atOnce(idsOf(there))];
  const added = function* (to: Buffer, length: number) {
    const cells = new Cells(length);
    yield* addIds(cells, to);
    return cells;
  };
  const cells = (of: Buffer) => atOnce(added(of, 20_000));
  const [local, remote] = [cells(ids), cells(others.subarray(0, 995_000 * 16))];
  const come = local.encode();
  const noise = new Cells(20_000);
  const beyond = large(2 * million).subarray(0, 24);
  const works: Record<string, () => Pieces<unknown>> = {
    "128 cells": () => added(ids, 128),
    "20,000 cells": () => added(ids, 20_000),
    "20,000 cells that came": () => new Cells(20_000).decode(0, come),
    "peeling of what is too much": () => peel(remote, local),
    "peeling of 8,000": () => peel(cells(ids.subarray(0, 996_000 * 16)), cells(ids.subarray(4000 * 16))),
    "peeling of a set of nothing": () => peel(local, noise),
    "an estimate": () => estimateDifference(remote, local, 0),
    "the order of ids": () => ascending(ids),
    "whether ids are apart": () => areApart(ids.subarray(0, 8 * million), ids.subarray(8 * million)),
    "a list of ids": function* () {
      const list = new IdList();
      for (let at = 0; at < ids.length; at += 16) {
        list.add(ids, at);
        if (at % (16 * 4096) === 0) yield;
      }
      return yield* list.all();
    },
    ids: () => idsOf(here),
    "a comparison of lists": function* () {
      const comparison = new ListComparison(here);
      for (let at = 0; at < there.length; at += 43_690 * 24)
        yield* comparison.take(there.subarray(at, at + 43_690 * 24));
      return yield* comparison.end();
    },
    "lists that have nothing in common": function* () {
      const comparison = new ListComparison(here);
      yield* comparison.take(beyond);
      return yield* comparison.end();
    },
  };
  for (const [name, work] of Object.entries(works)) {
    const ms = longestOf(work);
    t.ok(ms <= 10, `${name}: ${ms.toFixed(1)} ms`);
  }
});
