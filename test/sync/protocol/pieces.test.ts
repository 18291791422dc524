/** Work on lists and symbols in pieces: right wherever it is cut, and none of them long. */
import fc from "fast-check";
import t from "tap";
import { Cells, encodeList, estimateDifference, peel } from "../../../src/sync/protocol/coded-symbols.ts";
import { idsOf } from "../../../src/sync/protocol/id-lists.ts";
import { ListComparison } from "../../../src/sync/protocol/list-comparison.ts";
import { atOnce, joined, type Pieces } from "../../../src/sync/protocol/pieces.ts";
import { areApart, ascending, entriesWith, SymbolSet } from "../../../src/sync/protocol/symbols.ts";

const symbol = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
const bytesOf = (symbols: readonly bigint[]) => {
  const bytes = Buffer.alloc(symbols.length * 8);
  for (const [i, value] of symbols.entries()) bytes.writeBigUInt64BE(value, i * 8);
  return bytes;
};
const inOrder = (symbols: readonly bigint[]) => [...symbols].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));

t.test("symbols are put in order, and found", async (t) => {
  fc.assert(
    fc.property(fc.array(symbol), fc.array(symbol), (some, others) => {
      const sorted = bytesOf(inOrder(some));
      t.ok(atOnce(ascending(bytesOf(some))).equals(sorted));
      const set = atOnce(SymbolSet.of(sorted));
      for (const value of [...some, ...others]) {
        const found = set.find(Number(value >> 32n), Number(value & 0xffffffffn));
        t.equal(found >= 0, some.includes(value));
        if (found >= 0) t.equal(sorted.readBigUInt64BE(found * 8), value);
      }
      const once = new Set(some).size === some.length && new Set(others).size === others.length;
      const apart = once && !some.some((value) => others.includes(value));
      t.equal(atOnce(areApart(sorted, bytesOf(inOrder(others)))), apart);
    }),
    { numRuns: 100 },
  );
});

/** A list with these ids, whose symbols are of the ids but for those that are damaged. */
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

/** A list of a million grains whose symbols are as good as random. */
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
  const symbols = bytesOf(inOrder(Array.from({ length: 200_000 }, (_, i) => here.readBigUInt64BE(i * 5 * 24 + 16))));
  const cells = (list: Buffer) => atOnce(encodeList(list, 20_000));
  const [local, remote] = [cells(here), cells(there.subarray(0, 995_000 * 24))];
  const noise = new Cells(20_000);
  const beyond = large(2 * million).subarray(0, 24);
  const works: Record<string, () => Pieces<unknown>> = {
    "128 cells": () => encodeList(here, 128),
    "20,000 cells": () => encodeList(here, 20_000),
    "a grain by its symbol": function* () {
      return yield* entriesWith(here, yield* SymbolSet.of(symbols.subarray(0, 8)));
    },
    "200,000 grains by their symbols": function* () {
      return yield* entriesWith(here, yield* SymbolSet.of(symbols));
    },
    "peeling of what is too much": () => peel(remote, local),
    "peeling of 8,000": () => peel(cells(here.subarray(0, 996_000 * 24)), cells(here.subarray(4000 * 24))),
    "peeling of a set of nothing": () => peel(local, noise),
    "an estimate": () => estimateDifference(remote, local, 0),
    "the order of symbols": () => ascending(here.subarray(0, 8 * million)),
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
