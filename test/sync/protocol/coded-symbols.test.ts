import fc from "fast-check";
import t from "tap";
import * as symbols from "../../../src/sync/protocol/coded-symbols.ts";
import { atOnce } from "../../../src/sync/protocol/pieces.ts";

const { Cells } = symbols;
const encodeList = (list: Buffer, length: number) => atOnce(symbols.encodeList(list, length));
const peel = (...of: Parameters<typeof symbols.peel>) => atOnce(symbols.peel(...of));
const estimateDifference = (...of: Parameters<typeof symbols.estimateDifference>) =>
  atOnce(symbols.estimateDifference(...of));
const decoded = (bytes: Buffer) => {
  const cells = new Cells(bytes.length / 14);
  atOnce(cells.decode(0, bytes));
  return cells;
};

/** A list of (id, symbol) with these symbols; the ids do not matter here. */
const listOf = (symbols: readonly bigint[]) =>
  Buffer.concat(
    symbols.map((symbol) => {
      const entry = Buffer.alloc(24);
      entry.writeBigUInt64BE(symbol, 16);
      return entry;
    }),
  );
const symbolsOf = (bytes: Buffer) =>
  Array.from({ length: bytes.length / 8 }, (_, i) => bytes.readBigUInt64BE(i * 8)).sort();
/** Deterministic symbols that look random. */
const spread = (n: number) => BigInt.asUintN(64, (BigInt(n) + 1n) * 0x9e3779b97f4a7c15n ** 3n);
const many = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => spread(from + i));

t.test("any small difference is found, whatever is common", async (t) => {
  // Symbols are hashes: as good as random, unlike the numbers that fast-check likes.
  const symbol = fc.nat(1_000_000).map(spread);
  fc.assert(
    fc.property(fc.uniqueArray(symbol, { maxLength: 60 }), fc.nat(60), fc.nat(60), (all, a, b) => {
      const [from, to] = [Math.min(a, b, all.length), Math.min(Math.max(a, b), all.length)];
      const remote = all.slice(0, to);
      const local = all.slice(from);
      const found = peel(encodeList(listOf(remote), 400), encodeList(listOf(local), 400));
      if (found === undefined) throw new Error("not peeled");
      const expected = (of: bigint[], without: bigint[]) => of.filter((s) => !without.includes(s)).sort();
      if (String(symbolsOf(found.onlyRemote)) !== String(expected(remote, local))) throw new Error("remote");
      if (String(symbolsOf(found.onlyLocal)) !== String(expected(local, remote))) throw new Error("local");
    }),
    { numRuns: 300 },
  );
  t.pass("300 random pairs of sets");
});

t.test("about 1.4 cells a differing symbol are enough, and the estimate is near", async (t) => {
  for (const d of [10, 100, 1000]) {
    const common = many(0, 20_000);
    const remote = listOf([...common, ...many(30_000, 30_000 + d)]);
    const local = listOf([...common, ...many(50_000, 50_000 + d)]);
    const cells = Math.ceil(2 * d * 1.8) + 20;
    t.ok(peel(encodeList(remote, cells), encodeList(local, cells)), `${d} replaced: ${cells} cells`);
    t.equal(peel(encodeList(remote, d), encodeList(local, d)), undefined, "too few cells say so");
    const estimate = estimateDifference(encodeList(remote, 128), encodeList(local, 128), 0);
    t.ok(estimate > 2 * d * 0.6 && estimate < 2 * d * 1.7, `${d} replaced: estimated ${estimate}`);
  }
  t.ok(
    estimateDifference(encodeList(listOf(many(0, 700)), 128), encodeList(listOf(many(0, 200)), 128), 500) >= 500,
    "at least the difference of the counts",
  );
});

t.test("cells travel as 14 bytes, counts modulo 2^16", async (t) => {
  const cells = encodeList(listOf(many(0, 70_000)), 8);
  t.equal(cells.counts[0], 70_000 % 65_536, "cell 0 holds everything");
  const bytes = cells.encode(0, 8);
  t.equal(bytes.length, 8 * 14);
  t.same(decoded(bytes), cells);
  t.same(cells.encode(3, 5), bytes.subarray(3 * 14, 5 * 14));
});

t.test("two symbols that agree in 32 bits are told apart", async (t) => {
  const common = many(0, 1000);
  const twins = [0x12345678_9abcdef0n, 0x12345678_5bd1e995n, 0xcc9e2d51_9abcdef0n, 0n, 2n ** 64n - 1n];
  const found = peel(encodeList(listOf([...common, ...twins]), 64), encodeList(listOf(common), 64));
  t.same(found && symbolsOf(found.onlyRemote), [...twins].sort());
});

t.test("cells made up by a peer end the peeling", async (t) => {
  const local = encodeList(listOf(many(0, 100)), 256);
  let state = 1;
  for (let n = 0; n < 200; n++) {
    const noise = Buffer.alloc(256 * 14);
    for (let i = 0; i < noise.length; i++) {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      noise[i] = state >>> 24;
    }
    t.equal(peel(decoded(noise), local), undefined);
  }
});
