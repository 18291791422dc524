/** What is carried forward with each grain is what a count of all of them says. */
import { createHash } from "node:crypto";
import fc from "fast-check";
import t from "tap";
import { cellBytes, sketchCells } from "../../../src/slices/rules/sketch.ts";
import { type Figures, markBytes, markCount, payloadBytesOf, Tally } from "../../../src/slices/rules/tally.ts";
import { type Counted, cellsOf, misstated, sumOf } from "../../harness/recount.ts";

t.setTimeout(120_000);

/** Grain number n; among them some whose digests make every word carry. */
function grain(n: number): Counted {
  const digest = createHash("sha256").update(`grain ${n}`).digest();
  if (n % 7 === 0) digest.fill(0xff, 0, 28);
  if (n % 11 === 0) digest.fill(0);
  return { id: createHash("md5").update(`grain ${n}`).digest(), digest, bytes: n % 5 === 0 ? 2 ** 33 + n : n };
}
const grains = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => grain(from + i));

/** Their marks, as the database gives them. */
function marksOf(these: readonly Counted[]): Buffer {
  return Buffer.concat(
    these.flatMap(({ id, digest, bytes }) => {
      const size = Buffer.alloc(8);
      size.writeBigUInt64BE(BigInt(bytes));
      return [id, digest, size];
    }),
  );
}

/** A tally of figures that were stored, as the database gives them back. */
const goneOn = ({ sum, count, bytes, sketch }: Figures) =>
  new Tally({ sum: Buffer.from(sum), count, bytes, sketch: Buffer.from(sketch) });

const cellsIn = ({ sketch }: Figures) => sketch.length / cellBytes;

t.test("marks", async (t) => {
  const these = grains(3, 8);
  const marks = marksOf(these);
  t.equal(markBytes, 56);
  t.equal(markCount(marks), 5);
  t.same(
    these.map((_, i) => payloadBytesOf(marks.subarray(i * markBytes, (i + 1) * markBytes))),
    [3, 4, 2 ** 33 + 5, 6, 7],
  );
});

type Move = { move: "add" | "remove"; count: number; pieces: number } | { move: "clear" } | { move: "store" };

const many = { count: fc.oneof(fc.nat(30), fc.integer({ min: 60, max: 600 })), pieces: fc.nat(3) };
const anyMove = fc.oneof(
  { arbitrary: fc.record({ move: fc.constant("add" as const), ...many }), weight: 4 },
  { arbitrary: fc.record({ move: fc.constant("remove" as const), ...many }), weight: 3 },
  { arbitrary: fc.constant({ move: "store" as const }), weight: 4 },
  { arbitrary: fc.constant({ move: "clear" as const }), weight: 1 },
);

/** A tally, and beside it the grains that it should be of. */
class History {
  readonly there = new Map<number, Counted>();
  /** Cells that are carried forward; undefined while all that can be are. */
  cells: number | undefined;
  tally = new Tally();
  failed = 0;
  #next = 0;

  take(move: Move): void {
    if (move.move === "clear") {
      this.tally.clear();
      this.there.clear();
      this.cells = undefined;
    } else if (move.move === "store") this.store();
    else if (move.move === "add") {
      // Some that were there before come back.
      const from = Math.max(0, this.#next - Math.floor(move.count / 2));
      const added = Array.from({ length: move.count }, (_, i) => from + i).filter((n) => !this.there.has(n));
      this.#next = Math.max(this.#next, from + move.count);
      for (const n of added) this.there.set(n, grain(n));
      this.#tell("add", added.map(grain), move.pieces);
    } else {
      const all = [...this.there.keys()];
      const removed = all.filter((n) => (n * 7919) % (all.length + 1) < move.count).slice(0, move.count);
      for (const n of removed) this.there.delete(n);
      this.#tell("remove", removed.map(grain), move.pieces);
    }
  }

  #tell(how: "add" | "remove", these: Counted[], pieces: number): void {
    const each = Math.ceil(these.length / (pieces + 1));
    for (let at = 0; at < these.length; at += Math.max(1, each)) this.tally[how](marksOf(these.slice(at, at + each)));
  }

  /** Looks at the figures, and goes on from them; or counts again when the tally says that it must. */
  store(): void {
    const now = [...this.there.values()];
    const due = sketchCells(now.length);
    const outgrown = this.cells !== undefined && due > this.cells;
    if (this.tally.failed !== outgrown) throw new Error(outgrown ? "it has not failed" : "it has failed");
    if (outgrown) {
      this.failed++;
      this.tally = new Tally();
      this.tally.add(marksOf(now));
      this.cells = undefined;
    }
    const length = this.cells === undefined || this.cells >= 4 * due ? due : this.cells;
    const figures = this.tally.figures();
    const wrong = misstated(figures, now, due);
    if (wrong !== undefined) throw new Error(wrong);
    if (cellsIn(figures) !== length) throw new Error(`${cellsIn(figures)} cells are kept, not ${length}`);
    this.tally = goneOn(figures);
    this.cells = now.length === 0 ? undefined : length;
  }
}

t.test("any history ends with what a count of all that is there says", async (t) => {
  let [failed, checked] = [0, 0];
  fc.assert(
    fc.property(fc.array(anyMove, { minLength: 4, maxLength: 14, size: "max" }), (moves) => {
      const history = new History();
      for (const move of [...moves, { move: "store" } as const]) history.take(move);
      failed += history.failed;
      checked++;
    }),
    { numRuns: 150 },
  );
  t.equal(checked, 150);
  t.ok(failed > 10, `${failed} times the sketch was outgrown`);
});

t.test("figures may be looked at in the middle", async (t) => {
  const tally = new Tally();
  for (let n = 0; n < 400; n += 40) {
    tally.add(marksOf(grains(n, n + 40)));
    t.equal(misstated(tally.figures(), grains(0, n + 40), sketchCells(n + 40)), undefined, `${n + 40} grains`);
    t.same(tally.figures(), tally.figures(), "twice are the same");
  }
  tally.remove(marksOf(grains(0, 400)));
  t.same(tally.figures(), new Tally().figures(), "nothing is left of what was removed");
});

t.test("sums are modulo 2^256, however many digests are added", async (t) => {
  const ones: Counted = { id: Buffer.alloc(16, 0xa5), digest: Buffer.alloc(32, 0xff), bytes: 3 };
  const each = 4096;
  const marks = marksOf(Array.from({ length: each }, () => ones));
  const tally = new Tally();
  const sumAfter = (count: number) => BigInt.asUintN(256, BigInt(count) * (2n ** 256n - 1n));
  const hex = (sum: Buffer) => sum.toString("hex");
  const expected = (count: number) => sumAfter(count).toString(16).padStart(64, "0");
  const times = 2 ** 20 / each + 2;
  for (let n = 1; n <= times; n++) {
    tally.add(marks);
    if (n === times - 3) tally.add(marks.subarray(0, 5 * markBytes)); // carries in the middle of a piece
  }
  const count = times * each + 5;
  t.equal(hex(tally.figures().sum), expected(count));
  t.equal(tally.figures().count, count);
  t.equal(tally.figures().bytes, 3 * count);
  t.equal(sumOf([ones, ones, ones]), expected(3), "so the test's own sum says");

  for (let n = 1; n <= times; n++) tally.remove(marks);
  t.equal(hex(tally.figures().sum), expected(5), "removing goes the same way back");
  t.equal(misstated(tally.figures(), [ones, ones, ones, ones, ones], 0), undefined);
  tally.remove(marks.subarray(0, 5 * markBytes));
  t.equal(hex(tally.figures().sum), hex(Buffer.alloc(32)));

  // So many that a word would not be exact any more, had it never been carried.
  const small = new Tally();
  small.add(marks.subarray(0, markBytes));
  const long = goneOn(small.figures());
  for (let n = 1; n <= 2 ** 23; n += each) long.add(marks);
  t.equal(hex(long.figures().sum), expected(2 ** 23 + 1));
  for (let n = 1; n <= 2 ** 23; n += each) long.remove(marks);
  t.equal(hex(long.figures().sum), expected(1));

  const below = new Tally();
  below.remove(marksOf([{ ...ones, digest: Buffer.from(`${"00".repeat(31)}01`, "hex"), bytes: 0 }]));
  below.add(marksOf([{ ...ones, digest: Buffer.alloc(32), bytes: 0 }]));
  t.equal(hex(below.figures().sum), "f".repeat(64), "one below zero");
});

t.test("what is cleared begins anew", async (t) => {
  const tally = new Tally();
  tally.add(marksOf(grains(0, 300)));
  tally.clear();
  t.same(tally.figures(), new Tally().figures());
  tally.add(marksOf(grains(100, 350)));
  t.equal(misstated(tally.figures(), grains(100, 350), sketchCells(250)), undefined);

  const stored = goneOn(tally.figures());
  stored.clear();
  stored.add(marksOf(grains(0, 1000)));
  t.notOk(stored.failed, "a slice that is filled anew does not outgrow the sketch that it had");
  t.equal(misstated(stored.figures(), grains(0, 1000), 256), undefined);
});

t.test("a slice that is counted from its first grain has no more cells than are due", async (t) => {
  const these = grains(0, 7600);
  const marks = marksOf(these);
  const tally = new Tally();
  tally.add(marks);
  const figures = tally.figures();
  t.equal(cellsIn(figures), 2048);
  t.equal(misstated(figures, these, 2048), undefined);
  tally.clear();
  tally.add(marks);
  t.same(tally.figures(), figures, "cleared before");
  const empty = goneOn(new Tally().figures());
  empty.add(marks);
  t.same(empty.figures(), figures, "stored empty before");
});

t.test("the figures of nothing", async (t) => {
  const figures = new Tally().figures();
  t.same(figures, { sum: Buffer.alloc(32), count: 0, bytes: 0, sketch: Buffer.alloc(0) });
  const filled = goneOn(figures);
  filled.add(marksOf(grains(0, 1000)));
  t.notOk(filled.failed, "what was stored empty may be filled with any number");
  t.equal(misstated(filled.figures(), grains(0, 1000), 256), undefined);
});

t.test("a slice that outgrows its sketch says so", async (t) => {
  for (const [stored, grown] of [
    [117, 118],
    [938, 939],
    [1877, 1878],
  ] as const) {
    const first = new Tally();
    first.add(marksOf(grains(0, stored)));
    const tally = goneOn(first.figures());
    t.notOk(tally.failed, `${stored} as they are stored`);
    tally.add(marksOf(grains(stored, grown)));
    t.ok(tally.failed, `${stored} and one more`);
    tally.remove(marksOf(grains(0, 1)));
    t.notOk(tally.failed, "and one less");
    t.equal(misstated(tally.figures(), grains(1, grown), sketchCells(stored)), undefined);
  }
});

t.test("a sketch that has become too long is kept up to four times", async (t) => {
  const whole = new Tally();
  whole.add(marksOf(grains(0, 2000)));
  t.equal(cellsIn(whole.figures()), 512);
  /** What is stored when so many are left of what was stored of 2,000. */
  const shrunk = (left: number) => {
    const tally = goneOn(whole.figures());
    tally.remove(marksOf(grains(left, 2000)));
    t.notOk(tally.failed);
    const figures = tally.figures();
    t.equal(misstated(figures, grains(0, left), sketchCells(left)), undefined, `${left} are left`);
    return figures;
  };
  t.equal(cellsIn(shrunk(1878)), 512);
  t.equal(cellsIn(shrunk(1877)), 512, "twice as long as it would be");
  t.equal(cellsIn(shrunk(939)), 512);
  t.equal(cellsIn(shrunk(938)), 128, "four times");
  t.equal(cellsIn(shrunk(118)), 128);
  t.equal(cellsIn(shrunk(117)), 0, "where a list takes less there is none");

  const back = goneOn(shrunk(939));
  back.add(marksOf(grains(939, 2000)));
  t.notOk(back.failed, "one that was kept has room for those that come back");
  t.same(back.figures(), whole.figures());
});

t.test("less than nothing says that it has failed", async (t) => {
  const count = new Tally();
  count.add(marksOf(grains(1, 3)));
  count.remove(marksOf(grains(1, 3)));
  t.notOk(count.failed);
  count.remove(marksOf([{ ...grain(3), bytes: 0 }]));
  t.ok(count.failed, "fewer grains than none");
  count.add(marksOf(grains(1, 3)));
  t.notOk(count.failed);
  count.remove(marksOf(grains(11, 12)));
  t.ok(count.failed, "fewer bytes than none");

  const stored = new Tally({ sum: Buffer.alloc(32), count: 1, bytes: 10, sketch: Buffer.alloc(0) });
  stored.remove(marksOf(grains(11, 12)));
  t.ok(stored.failed, "a slice that said fewer bytes than it has");
});

t.test("marks are read where they are", async (t) => {
  const these = grains(0, 130);
  const marks = Buffer.concat([Buffer.alloc(13), marksOf(these), Buffer.alloc(5)]).subarray(13, 13 + 130 * markBytes);
  const tally = new Tally();
  tally.add(marks);
  t.ok(
    tally.figures().sketch.equals(
      cellsOf(
        these.map(({ id }) => id),
        128,
      ),
    ),
  );
  t.equal(misstated(tally.figures(), these, 128), undefined);
});
