import t from "tap";
import { logBytesOn, reserveOn } from "../../../src/database/postgres/disk.ts";
import { Budget, costOf, diskBytes, leftOf, mostRowBytes, rowBytes, shareOf } from "../../../src/sync/rules/budget.ts";

const [mib, gib] = [2 ** 20, 2 ** 30];

t.test("what is left to stage", async (t) => {
  const due = { grains: 1000, bytes: 10 * gib };
  const nothing = { after: null, grains: 0, bytes: 0, large: null };
  const after = Buffer.alloc(16);
  t.same(leftOf(due, nothing), due);
  t.same(leftOf(due, { ...nothing, after, grains: 900, bytes: 9 * gib }), { grains: 100, bytes: gib });
  t.same(
    leftOf(due, { after, grains: 900, bytes: 9 * gib, large: { left: 5, sequence: 1 } }),
    { grains: 101, bytes: gib + 5 },
    "a grain that is there in part is not there",
  );
  t.same(leftOf(due, { ...nothing, after, grains: 1000, bytes: 11 * gib }), { grains: 0, bytes: 0 });
});

t.test("grains cost their rows too", async (t) => {
  t.equal(costOf({ grains: 0, bytes: 5 }), 5);
  t.equal(costOf({ grains: 1_000_000, bytes: 0 }), 1_000_000 * rowBytes, "a million grains of nothing are not nothing");
  t.equal(mostRowBytes, rowBytes + 1024 + 1024);
});

t.test("the disk holds the new grains, and once more the rows that are moved to meet the others", async (t) => {
  const large = { grains: 10, bytes: 10 * mib };
  const small = { grains: 1000, bytes: 200_000 };
  t.equal(diskBytes(large, 0), Math.ceil(1.05 * 10 * mib + 10 * rowBytes), "a first copy is written once");
  t.equal(diskBytes(large, 500), diskBytes(large, 10), "no more than there are new ones");
  t.ok(diskBytes(large, 10) < diskBytes(large, 0) + 10 * 3000, "payloads that are large stay where they are");
  t.equal(diskBytes(small, 1000), diskBytes(small, 0) + 1000 * (200 + rowBytes), "small ones move with their rows");
  t.equal(diskBytes({ grains: 0, bytes: 0 }, 1000), 0);
});

t.test("a budget is counted up until it is measured", async (t) => {
  const budget = new Budget(1000, 400);
  t.equal(budget.lacks(600), 0);
  t.equal(budget.lacks(601), 1);
  budget.add(500);
  t.equal(budget.lacks(101), 1);
  budget.measured(450);
  t.equal(budget.lacks(550), 0);
  t.equal(budget.held, 450);
  t.equal(new Budget(1000, 5000).lacks(0), 4000, "what is here already may be more, when the limit was lowered");
});

t.test("a primary's share leaves to others what they have, and as much again", async (t) => {
  t.equal(shareOf(100 * gib, 0), 75 * gib, "to those who may come, a quarter");
  t.equal(shareOf(100 * gib, 10 * gib), 75 * gib);
  t.equal(shareOf(100 * gib, 20 * gib), 60 * gib);
  t.equal(shareOf(100 * gib, 40 * gib), 50 * gib, "and never less than half");
  t.equal(shareOf(-5, 0), 0, "nothing, when not even the reserve is free");
});

t.test("the reserve and the log go with the disk", async (t) => {
  const log = (disk: number) => logBytesOn(disk) / mib;
  t.same(
    [0.1, 1, 4, 20, 100, 256, 4000].map((n) => log(n * gib)),
    [64, 64, 64, 320, 1600, 4096, 4096],
  );
  t.same(
    [1, 20, 100, 256, 4000].map((n) => reserveOn(n * gib) / mib),
    [96, 480, 2400, 6144, 6144],
  );
});
