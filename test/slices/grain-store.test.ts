import { randomUUID } from "node:crypto";
import t from "tap";
import { everything } from "../../src/database/scope.ts";
import { changeSlice } from "../../src/slices/change-slice.ts";
import {
  findGrain,
  findGrainByKey,
  findGrainsByKey,
  listGrains,
  listGrainsAfter,
  readGrainsAfter,
} from "../../src/slices/grain-store.ts";
import { openTestDatabase } from "../harness/open-database.ts";

t.test("grains are found by id and key, and listed in order of id", async (t) => {
  const { db, slice } = await openTestDatabase(t);
  const { key, contentKey, id: sliceId, name } = await slice("small");
  const grains = ["a", "A", " a", "a ", "é", "e\u0301", "x'); DROP TABLE grains; --", "\\x00", "{1,2}", "NULL"].map(
    (text) => ({ id: randomUUID(), key: text, source: text, encoding: "raw" as const, payload: Buffer.from(text) }),
  );
  await changeSlice(db, { key, contentKey, name } as never, (edit) => edit.put(grains));
  const rows = grains
    .map(({ payload, ...grain }) => ({ ...grain, contentKey, sliceId, bytes: payload.length }))
    .toSorted((a, b) => (a.id < b.id ? -1 : 1));
  for (const row of rows) {
    const payload = Buffer.from(row.key);
    t.same(await findGrain(db, everything, row.id), { ...row, payload });
    t.same(await findGrainByKey(db, everything, key, row.key), row);
    t.same(await findGrainsByKey(db, everything, sliceId, row.key), [{ ...row, payload }]);
  }
  t.same(await listGrains(db, everything, key), rows);
  t.same(await listGrains(db, everything, key, { limit: 5, offset: 8 }), rows.slice(8));
  const brief = await listGrainsAfter(db, everything, contentKey, rows[6]!.id);
  t.same(
    brief,
    rows.slice(7).map((row) => ({ ...row, payload: null })),
  );
  const of = { id: sliceId, contentKey, count: rows.length, bytes: 100 };
  const read = await readGrainsAfter(db, everything, of, rows[6]!.id);
  t.same(
    read.map(({ payload, ...row }) => row),
    rows.slice(7),
  );
  for (const { key: text, payload } of read) t.equal(payload?.toString(), text);
});

t.test("a slice that was removed meanwhile is not found", async (t) => {
  const { db, slice } = await openTestDatabase(t);
  const gone = await slice("gone");
  await db.run("DELETE FROM slices WHERE slice_key = $1", [gone.key]);
  await t.rejects(
    changeSlice(db, gone, async () => {}),
    { code: "not_found" },
  );
});
