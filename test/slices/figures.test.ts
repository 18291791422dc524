/** What a slice says of its grains is what they come to, whatever was done to it; and is put right when it is not. */
import { randomUUID } from "node:crypto";
import t from "tap";
import type { Database } from "../../src/database/database.ts";
import { applyBatch, type BatchLine } from "../../src/slices/batch.ts";
import { changeSlice } from "../../src/slices/change-slice.ts";
import { recount } from "../../src/slices/recount.ts";
import { sketchCells } from "../../src/slices/rules/sketch.ts";
import { chunkBytes, type Slice } from "../../src/slices/rules/slice.ts";
import { openTestDatabase } from "../harness/open-database.ts";
import { Random } from "../harness/random.ts";
import { misstated } from "../harness/recount.ts";

t.setTimeout(300_000);

const noLimit = 2 ** 40;

/** What is wrong with what a slice says, by its rows; and what it says. */
async function look(db: Database, { key }: Slice) {
  const says = (await db.one<{ hash: string; sum: Buffer; count: number; bytes: number; sketch: Buffer }>(
    "SELECT hash, content_sum AS sum, content_count AS count, content_bytes AS bytes, sketch FROM slices WHERE slice_key = $1",
    [key],
  ))!;
  const grains = await db.query<{ id: Buffer; digest: Buffer; bytes: number }>(
    "SELECT uuid_send(g.id) AS id, g.digest, g.payload_bytes AS bytes FROM grains g JOIN slices USING (content_key) WHERE slice_key = $1",
    [key],
  );
  return { says, cells: says.sketch.length / 22, wrong: misstated(says, grains, sketchCells(grains.length)) };
}

t.test("histories of publishing end with the figures of a recount", async (t) => {
  const { db, slice } = await openTestDatabase(t);
  const random = new Random(13);
  for (let n = 0; n < 20; n++) {
    const target = await slice(`history ${n}`);
    let next = 0;
    const there = new Set<string>();
    for (let edit = 0; edit < 15; edit++) {
      const lines: BatchLine[] = [];
      if (random.chance(0.1)) {
        lines.push({ delete_all: true });
        there.clear();
      }
      const most = random.pick([0, 1, 10, 300]);
      for (const key of [...there].slice(0, random.int(0, most))) {
        lines.push({ delete_key: key });
        there.delete(key);
      }
      for (let i = random.int(0, most); i > 0; i--) {
        const key = `part ${next++}`;
        const size = random.chance(0.002) ? chunkBytes + 5 : random.int(0, 40);
        lines.push({ add: { grain_key: key, source: "", encoding: "raw", payload: "x".repeat(size) } });
        there.add(key);
      }
      if (random.chance(0.2)) lines.push({ metadata: { edition: String(edit) } });
      await applyBatch(db, target, lines, noLimit);
      const { wrong, says } = await look(db, target);
      if (wrong !== undefined || says.count !== there.size)
        t.fail(`history ${n}, edit ${edit}: ${wrong ?? says.count}`);
    }
    const { content, wasRight } = await recount(db, target);
    t.equal(wasRight, true);
    t.equal((await look(db, target)).says.hash, content.hash);
  }
});

t.test("a sketch grows with its slice, and is kept for a while when that shrinks", async (t) => {
  const { db, slice } = await openTestDatabase(t);
  const target = await slice("sketch");
  const grow = (from: number, to: number) =>
    applyBatch(
      db,
      target,
      Array.from({ length: to - from }, (_, i) => ({
        add: { grain_key: `part ${from + i}`, source: "", encoding: "raw" as const, payload: "" },
      })),
      noLimit,
    );
  const shrink = (from: number, to: number) =>
    applyBatch(
      db,
      target,
      Array.from({ length: to - from }, (_, i) => ({ delete_key: `part ${from + i}` })),
      noLimit,
    );
  const lengths: number[] = [];
  for (const change of [
    () => grow(0, 117),
    () => grow(117, 118),
    () => grow(118, 1000),
    () => shrink(400, 1000),
    () => grow(400, 1000),
    () => shrink(100, 1000),
  ]) {
    await change();
    const { wrong, cells } = await look(db, target);
    t.equal(wrong, undefined);
    lengths.push(cells);
  }
  t.same(lengths, [0, 128, 256, 256, 256, 0]);
});

t.test("what somebody has changed by hand is found by a recount, and put right", async (t) => {
  const { db, slice } = await openTestDatabase(t);
  const target = await slice("damaged");
  const add = (n: number) => ({
    add: { id: randomUUID(), grain_key: `part ${n}`, source: "", encoding: "raw" as const, payload: "x" },
  });
  await applyBatch(
    db,
    target,
    Array.from({ length: 200 }, (_, n) => add(n)),
    noLimit,
  );
  const right = (await look(db, target)).says;
  for (const damage of [
    "UPDATE slices SET content_sum = decode(repeat('ff', 32), 'hex') WHERE slice_key = $1",
    "UPDATE slices SET content_count = 3 WHERE slice_key = $1",
    "UPDATE slices SET content_bytes = 3 WHERE slice_key = $1",
    "UPDATE slices SET hash = '0123456789abcdef' WHERE slice_key = $1",
    "UPDATE slices SET sketch = overlay(sketch PLACING '\\x55'::bytea FROM 100) WHERE slice_key = $1",
  ]) {
    await db.run(damage, [target.key]);
    t.equal((await recount(db, target)).wasRight, false, damage);
    t.same((await look(db, target)).says, right, "it says again what it is");
    t.equal((await recount(db, target)).wasRight, true);
  }
  await db.run("UPDATE slices SET content_count = 3, content_bytes = 1 WHERE slice_key = $1", [target.key]);
  await changeSlice(db, target, (edit) => edit.clear());
  t.equal((await look(db, target)).wrong, undefined, "all is gone, and nothing is left to be wrong");
  await applyBatch(db, target, [add(1), add(2), add(3)], noLimit);
  await db.run("UPDATE slices SET content_count = 1 WHERE slice_key = $1", [target.key]);
  await applyBatch(db, target, [{ delete_key: "part 1" }, { delete_key: "part 2" }], noLimit);
  t.equal((await look(db, target)).wrong, undefined, "a number below zero is counted again");
});

t.test("a copy that was never synced says nothing of itself, and stays so", async (t) => {
  const { db, slice } = await openTestDatabase(t);
  const target = await slice("never");
  await db.run("UPDATE slices SET hash = '' WHERE slice_key = $1", [target.key]);
  t.match(await recount(db, target), { wasRight: true, content: { hash: "", count: 0 } });
  t.equal((await look(db, target)).says.hash, "");
});
