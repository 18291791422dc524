/** Sets are told apart by the cells of their ids: small and large ones, chosen ones, and cells that are no set's. */
import fc from "fast-check";
import t from "tap";
import { atOnce } from "../../../src/pieces.ts";
import { addIds } from "../../../src/slices/cells.ts";
import { Cells } from "../../../src/slices/rules/sketch.ts";
import * as symbols from "../../../src/sync/protocol/coded-symbols.ts";
import { slowXxh64 } from "../../harness/slow-xxh64.ts";

const peel = (...of: Parameters<typeof symbols.peel>) => atOnce(symbols.peel(...of));
const estimateDifference = (...of: Parameters<typeof symbols.estimateDifference>) =>
  atOnce(symbols.estimateDifference(...of));
const encode = (ids: readonly string[], length: number) => {
  const cells = new Cells(length);
  atOnce(addIds(cells, bytesOf(ids)));
  return cells;
};
const decoded = (bytes: Buffer) => {
  const cells = new Cells(bytes.length / 22);
  atOnce(cells.decode(0, bytes));
  return cells;
};

/** Ids as 32 hex digits, back to back. */
const bytesOf = (ids: readonly string[]) => Buffer.from(ids.join(""), "hex");
/** The ids that are back to back in these bytes. */
const idsOf = (bytes: Buffer) =>
  Array.from({ length: bytes.length / 16 }, (_, i) => bytes.toString("hex", i * 16, (i + 1) * 16));
/** Deterministic ids that look random. */
const spread = (n: number) =>
  [3n, 5n]
    .map((power) => BigInt.asUintN(64, (BigInt(n) + 1n) * 0x9e3779b97f4a7c15n ** power))
    .map((word) => word.toString(16).padStart(16, "0"))
    .join("");
const many = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => spread(from + i));

t.test("any small difference is found, whatever is common", async (t) => {
  const id = fc.nat(1_000_000).map(spread);
  fc.assert(
    fc.property(fc.uniqueArray(id, { maxLength: 60 }), fc.nat(60), fc.nat(60), (all, a, b) => {
      const [from, to] = [Math.min(a, b, all.length), Math.min(Math.max(a, b), all.length)];
      const remote = all.slice(0, to);
      const local = all.slice(from);
      const found = peel(encode(remote, 400), encode(local, 400));
      if (found === undefined) throw new Error("not peeled");
      // They come ascending, as they are asked for.
      const expected = (of: string[], without: string[]) => of.filter((id) => !without.includes(id)).sort();
      if (String(idsOf(found.onlyRemote)) !== String(expected(remote, local))) throw new Error("remote");
      if (String(idsOf(found.onlyLocal)) !== String(expected(local, remote))) throw new Error("local");
    }),
    { numRuns: 300 },
  );
  t.pass("300 random pairs of sets");
});

t.test("ids that are no hashes are found as well", async (t) => {
  const any = fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes) => Buffer.from(bytes).toString("hex"));
  const counted = fc.nat(300).map((n) => n.toString(16).padStart(32, "0"));
  fc.assert(
    fc.property(fc.uniqueArray(fc.oneof(any, counted), { maxLength: 60 }), fc.nat(60), (all, at) => {
      const [remote, local] = [all.slice(0, at), all.slice(at)];
      const found = peel(encode(remote, 400), encode(local, 400));
      if (found === undefined) throw new Error("not peeled");
      if (String(idsOf(found.onlyRemote)) !== String(remote.sort())) throw new Error("remote");
      if (String(idsOf(found.onlyLocal)) !== String(local.sort())) throw new Error("local");
    }),
    { numRuns: 300 },
  );
  t.pass("300 random pairs of sets");
});

t.test("about 1.4 cells a differing id are enough, and the estimate is near", async (t) => {
  for (const d of [10, 100, 1000]) {
    const common = many(0, 20_000);
    const remote = [...common, ...many(30_000, 30_000 + d)];
    const local = [...common, ...many(50_000, 50_000 + d)];
    const cells = Math.ceil(2 * d * 1.8) + 20;
    t.ok(peel(encode(remote, cells), encode(local, cells)), `${d} replaced: ${cells} cells`);
    t.equal(peel(encode(remote, d), encode(local, d)), undefined, "too few cells say so");
    const estimate = estimateDifference(encode(remote, 128), encode(local, 128), 0);
    t.ok(estimate > 2 * d * 0.6 && estimate < 2 * d * 1.7, `${d} replaced: estimated ${estimate}`);
  }
  t.ok(
    estimateDifference(encode(many(0, 700), 128), encode(many(0, 200), 128), 500) >= 500,
    "at least the difference of the counts",
  );
});

t.test("cells travel as 22 bytes, counts modulo 2^16", async (t) => {
  const cells = encode(many(0, 70_000), 8);
  t.equal(cells.counts[0], 70_000 % 65_536, "cell 0 holds everything");
  const bytes = cells.encode(0, 8);
  t.equal(bytes.length, 8 * 22);
  t.same(decoded(bytes), cells);
  t.same(cells.encode(3, 5), bytes.subarray(3 * 22, 5 * 22));
});

/** Ids by their XXH64, which is easily chosen. */
const chosen = {
  "123456789abcdef0": ["0300000000000000bb76d754cf2ae6aa", "0400000000000000d709e36dd14e599c"],
  fedcba989abcdef0: ["0500000000000000f0ea9a37d86a1519"],
  "1234567800000000": ["060000000000000096585c27f83dd19a"],
  ffffffffffffffff: ["0700000000000000fa0dbc2537cd8e15"],
  "0": ["01000000000000002e6b353c4e4bc645", "0200000000000000c8b46a5eafc43bfe"],
};

t.test("two ids whose XXH64 agree in 32 bits are told apart", async (t) => {
  for (const [hash, ids] of Object.entries(chosen))
    for (const id of ids) t.equal(slowXxh64(Buffer.from(id, "hex")).toString(16), hash);
  const common = many(0, 1000);
  const twins = [
    ...Object.values(chosen).map(([id]) => id!),
    ...["00000000", "00000001", "80000000", "ffffffff"].map((end) => `5a5a5a5a5a5a4a5a8a5a5a5a${end}`),
    "0".repeat(32),
    "f".repeat(32),
  ];
  const found = peel(encode([...common, ...twins], 64), encode(common, 64));
  t.same(found && idsOf(found.onlyRemote), [...twins].sort());
});

t.test(
  "two ids with the same XXH64 are in the same cells: both in the difference, and they are not found",
  async (t) => {
    const common = many(0, 1000);
    for (const twins of [chosen["123456789abcdef0"], chosen["0"]]) {
      const [one, other] = twins as [string, string];
      for (const length of [64, 1000]) {
        t.equal(peel(encode([...common, one, other], length), encode(common, length)), undefined);
        t.equal(peel(encode([...common, one], length), encode([...common, other], length)), undefined);
        const found = peel(encode([...common, one, other], length), encode([...common, other], length));
        t.same(found && [idsOf(found.onlyRemote), idsOf(found.onlyLocal)], [[one], []], "one of them is");
      }
    }
  },
);

t.test("cells made up by a peer end the peeling", async (t) => {
  const local = encode(many(0, 100), 256);
  let state = 1;
  for (let n = 0; n < 200; n++) {
    const noise = Buffer.alloc(256 * 22);
    for (let i = 0; i < noise.length; i++) {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      noise[i] = state >>> 24;
    }
    t.equal(peel(decoded(noise), local), undefined);
  }
});
