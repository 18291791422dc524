import t from "tap";
import { leftOf, roomFor } from "../../src/sync/stage.ts";

const gib = 2 ** 30;

t.test("room is asked for what is left to stage, and for a log that has a bound", async (t) => {
  const due = { grains: 1000, bytes: 10 * gib };
  const nothing = { after: null, grains: 0, bytes: 0, large: null };
  t.equal(roomFor({ grains: 1000, bytes: gib }), 2 * gib + 300_000);
  t.equal(roomFor(leftOf(due, nothing)), 14 * gib + 300_000);
  const after = Buffer.alloc(16);
  t.same(leftOf(due, { ...nothing, after, grains: 900, bytes: 9 * gib }), { grains: 100, bytes: gib });
  t.same(
    leftOf(due, { after, grains: 900, bytes: 9 * gib, large: { left: 5, sequence: 1 } }),
    { grains: 101, bytes: gib + 5 },
    "a grain that is there in part is not there",
  );
  t.same(leftOf(due, { ...nothing, after, grains: 1000, bytes: 11 * gib }), { grains: 0, bytes: 0 });
});
