/** The cells of a sketch are what the rule of PROTOCOL.md, "Coded symbols", says of its ids. */
import fc from "fast-check";
import t from "tap";
import { atOnce } from "../../../src/pieces.ts";
import { Cells, cellBytes, firstCells, sketchCells, Walk } from "../../../src/slices/rules/sketch.ts";
import { cellsOf, placesOf } from "../../harness/recount.ts";
import { slowXxh64 } from "../../harness/slow-xxh64.ts";

/** Their XXH64 is 0, at which the walk would stand still. */
const still = ["01000000000000002e6b353c4e4bc645", "0200000000000000c8b46a5eafc43bfe"].map((hex) =>
  Buffer.from(hex, "hex"),
);

const anyId = fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes) => Buffer.from(bytes));
const anyIds = fc.array(fc.oneof({ arbitrary: anyId, weight: 9 }, fc.constantFrom(...still)), { maxLength: 40 });
const anyLength = fc.integer({ min: 0, max: 300 });

function made(ids: readonly Buffer[], length: number): Cells {
  const cells = new Cells(length);
  for (const id of ids) cells.toggle(id, 0, 1);
  return cells;
}

t.test("any ids make the cells that the rule says", async (t) => {
  fc.assert(
    fc.property(anyIds, anyLength, (ids, length) => made(ids, length).encode().equals(cellsOf(ids, length))),
    { numRuns: 200 },
  );
  t.equal(cellBytes, 22);
  t.equal(firstCells, 128);
});

t.test("the walk of an id, and its check", async (t) => {
  for (const id of still) t.equal(slowXxh64(id), 0n);
  fc.assert(
    fc.property(fc.oneof(anyId, fc.constantFrom(...still)), fc.nat(50), (id, at) => {
      const bytes = Buffer.concat([Buffer.alloc(at, 0xee), id, Buffer.alloc(3, 0xee)]);
      const walk = new Walk(bytes, at);
      const places = [0];
      for (let i = walk.next(); i < 1_000_000; i = walk.next()) places.push(i);
      t.same(places, placesOf(id, 1_000_000));
      return walk.check === Number(BigInt.asUintN(32, slowXxh64(id)));
    }),
  );
  t.ok(placesOf(still[0]!, 1_000_000).length > 5, "that of zero goes on");
});

t.test("the shortest step and the longest one", async (t) => {
  for (const [id, next] of [
    ["0900000000000000dd3fecbb4558b1f6", 98_303], // after one step, the upper half of its state is 00000000
    ["0900000000000000627b0ebdd057e49c", 1], // and of this one ffffffff
  ] as const) {
    const bytes = Buffer.from(id, "hex");
    t.equal(new Walk(bytes, 0).next(), next);
    t.equal(placesOf(bytes, 100_000)[1], next);
  }
});

t.test("an id is taken from where it is", async (t) => {
  fc.assert(
    fc.property(anyIds, fc.nat(50), (ids, at) => {
      const bytes = Buffer.concat([Buffer.alloc(at, 0xee), ...ids, Buffer.alloc(3, 0xee)]);
      const cells = new Cells(100);
      for (let i = 0; i < ids.length; i++) cells.toggle(bytes, at + 16 * i, 1);
      return cells.encode().equals(cellsOf(ids, 100));
    }),
  );
  t.pass();
});

t.test("removing what was added, in any order, leaves zeros; in between there is what is left", async (t) => {
  const zeros = Buffer.alloc(200 * cellBytes);
  fc.assert(
    fc.property(anyIds, anyIds, (stay, go) => {
      const cells = made([...go, ...stay], 200);
      for (const id of [...go].reverse()) cells.toggle(id, 0, -1);
      t.ok(cells.encode().equals(cellsOf(stay, 200)));
      for (const id of stay) cells.toggle(id, 0, -1);
      t.ok(cells.encode().equals(zeros));
      // In another order: removed first, and added then.
      for (const id of go) cells.toggle(id, 0, -1);
      for (const id of go) cells.toggle(id, 0, 1);
      return cells.encode().equals(zeros);
    }),
  );
});

t.test("counts are modulo 2^16", async (t) => {
  const id = Buffer.from("00112233445566778899aabbccddeeff", "hex");
  const cells = new Cells(8);
  const places = placesOf(id, 8);
  for (let n = 0; n < 65_537; n++) cells.toggle(id, 0, 1);
  t.ok(cells.encode().equals(cellsOf([id], 8)), "65,537 times are once");
  cells.toggle(id, 0, -1);
  t.ok(cells.encode().equals(Buffer.alloc(8 * cellBytes)), "65,536 times are never");
  cells.toggle(id, 0, -1);
  for (let i = 0; i < 8; i++)
    t.equal(cells.counts[i], places.includes(i) ? 65_535 : 0, `cell ${i}: one less than none`);
  const many = Array.from({ length: 70_000 }, (_, i) => {
    const other = Buffer.alloc(16);
    other.writeUInt32BE(i);
    return other;
  });
  const all = made(many, 4);
  t.equal(all.counts[0], 70_000 % 65_536, "cell 0 holds everything");
  t.ok(all.encode().equals(cellsOf(many, 4)));
});

t.test("a cell that holds one says which", async (t) => {
  fc.assert(
    fc.property(anyId, anyId, (id, other) => {
      const found = Buffer.alloc(16, 0xee);
      for (const by of [1, -1] as const) {
        const cells = new Cells(50);
        cells.toggle(id, 0, by);
        const places = placesOf(id, 50);
        for (let i = 0; i < 50; i++) {
          t.equal(cells.holdsOne(i, found), places.includes(i));
          if (places.includes(i)) t.ok(found.equals(id));
        }
        cells.toggle(other, 0, by);
        t.notOk(cells.holdsOne(0, found), "two are not one");
        cells.toggle(Buffer.alloc(16, 0x55), 0, by === 1 ? -1 : 1);
        t.notOk(cells.holdsOne(0, found), "nor are three of which one is on the other side");
      }
    }),
    { numRuns: 50 },
  );
});

t.test("cells travel and come back, wherever they are cut", async (t) => {
  fc.assert(
    fc.property(anyIds, anyLength, fc.nat(300), fc.nat(300), (ids, length, a, b) => {
      const [first, end] = [Math.min(a, b, length), Math.min(Math.max(a, b), length)];
      const cells = made(ids, length);
      const bytes = cells.encode();
      t.equal(bytes.length, length * cellBytes);
      t.ok(cells.encode(first, end).equals(bytes.subarray(first * cellBytes, end * cellBytes)));
      t.ok(cells.encode(first).equals(bytes.subarray(first * cellBytes)));
      t.same(Cells.of(bytes), cells);
      const come = new Cells(length);
      for (const [from, to] of [
        [end, length],
        [0, first],
        [first, end],
      ] as const)
        atOnce(come.decode(from, cells.encode(from, to)));
      t.same(come, cells);
    }),
  );
  const large = made(still, 100_000);
  const come = new Cells(100_000);
  atOnce(come.decode(0, large.encode()));
  t.ok(come.encode().equals(large.encode()), "in several pieces");
});

t.test("cells in another number are the same ones, and none where there were none", async (t) => {
  fc.assert(
    fc.property(anyIds, anyLength, anyLength, (ids, before, after) => {
      const cells = made(ids, before);
      const was = cells.encode();
      const resized = cells.resized(after);
      const both = Math.min(before, after);
      t.equal(resized.length, after);
      const left = Buffer.concat([was.subarray(0, both * cellBytes), Buffer.alloc((after - both) * cellBytes)]);
      t.ok(resized.encode().equals(left));
      resized.toggle(Buffer.alloc(16, 7), 0, 1);
      t.ok(cells.encode().equals(was), "they are not those that they were made of");
    }),
  );
});

t.test("how many cells a sketch has", async (t) => {
  for (const [grains, cells] of [
    [0, 0],
    [1, 0],
    [117, 0],
    [118, 128],
    [938, 128],
    [939, 256],
    [1877, 256],
    [1878, 512],
    [3754, 512],
    [3755, 1024],
    [7509, 1024],
    [7510, 2048],
    [15_018, 2048],
    [15_019, 4096],
    [30_038, 4096],
    [10_000_000, 4096],
  ] as const)
    t.equal(sketchCells(grains), cells, `${grains} grains`);
  t.equal(Cells.most().length, sketchCells(Number.MAX_SAFE_INTEGER), "and never more than can be kept");
  for (let grains = 1; grains < 40_000; grains++) {
    const [before, cells] = [sketchCells(grains - 1), sketchCells(grains)];
    if (cells < before || (before > 0 && cells > 2 * before)) t.fail(`from ${before} to ${cells} at ${grains} grains`);
    if (cells * cellBytes > grains * 24) t.fail(`${cells} cells of ${grains} grains take more than a list`);
  }
});
