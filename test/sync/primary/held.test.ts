/** What a primary knows of what its partners hold, while slices come and go. */
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { addCompany } from "../../../src/companies/company-store.ts";
import type { Database } from "../../../src/database/database.ts";
import { applyBatch } from "../../../src/slices/batch.ts";
import { changeSlice } from "../../../src/slices/change-slice.ts";
import type { Slice } from "../../../src/slices/rules/slice.ts";
import { requireSlice } from "../../../src/slices/slice-store.ts";
import { addSubscription, setSubscriptionActive } from "../../../src/subscriptions/subscription-store.ts";
import { recordConfirm, recordHeld } from "../../../src/sync/primary/primary-store.ts";
import type { Confirm } from "../../../src/sync/protocol/messages.ts";
import { openTestDatabase } from "../../harness/open-database.ts";
import { addLines } from "../../integration/parties.ts";

async function open(test: { teardown(work: () => Promise<void>): unknown }) {
  const { db, slice } = await openTestDatabase(test);
  const { id } = await addCompany(db, { id: randomUUID(), name: "Epicor" });
  const make = async (name: string) => {
    const made = await slice(name);
    await applyBatch(db, made, addLines(0, 3), 2 ** 20);
    return requireSlice(db, name);
  };
  const offer = (to: Slice) => addSubscription(db, { companyId: id, sliceKey: to.key, name: `${to.name} for Epicor` });
  return { db, id, make, offer, own: db.as({ company: id }) };
}

const holdings = (db: Database) =>
  db.query<{ name: string; hash: string; count: number; at: Date }>(
    `SELECT s.name, h.hash, h.content_count AS count, h.confirmed_at AS at FROM holdings h JOIN slices s USING (slice_key) ORDER BY s.name`,
  );

const claim = (...slices: { id: string; hash: string; count: number }[]) => ({
  ids: slices.map(({ id }) => id),
  hashes: slices.map(({ hash }) => hash),
  counts: slices.map(({ count }) => count),
});

/** Waits until so many connections wait for a lock. */
async function untilBlocked(db: Database, n: number): Promise<void> {
  const blocked = `SELECT count(DISTINCT pid) AS n FROM pg_locks JOIN pg_stat_activity USING (pid)
    WHERE NOT granted AND datname = current_database()`;
  while ((await db.one<{ n: number }>(blocked))!.n < n) await sleep(10);
}

const confirmOf = ({ id, hash, count }: Slice): Confirm => ({
  type: "confirm",
  run_id: randomUUID(),
  id,
  test: false,
  outcome: "updated",
  hash,
  count,
  added: count,
  removed: 0,
  bytes: 0,
  duration_ms: 1,
  message: "",
});

t.test("what a partner compares and has is noted, once, as far as it is so and may be known", async (t) => {
  const { db, id, make, offer, own } = await open(t);
  const [same, old, off, foreign] = [await make("same"), await make("old"), await make("off"), await make("foreign")];
  for (const one of [same, old]) await offer(one);
  const { key } = await offer(off);
  await setSubscriptionActive(db, key, false);
  const said = claim(same, { ...old, count: 2 }, off, foreign, { ...same, id: randomUUID() });
  await recordHeld(own, id, said);
  const first = await holdings(db);
  t.match(first, [{ name: "same", hash: same.hash, count: 3 }]);
  t.equal(first.length, 1);
  await recordHeld(own, id, said);
  t.same(await holdings(db), first, "what is known is not written again");

  await applyBatch(db, same, addLines(3, 1), 2 ** 20);
  const changed = await requireSlice(db, "same");
  await recordHeld(own, id, said);
  t.same(await holdings(db), first, "what it had before is no news");
  await recordHeld(own, id, claim(changed));
  t.match(await holdings(db), [{ hash: changed.hash, count: 4 }]);
});

t.test("what is confirmed does not wait for who publishes, and a slice that is gone is no fault", async (t) => {
  const { db, id, make, offer, own } = await open(t);
  const one = await make("one");
  await offer(one);
  await changeSlice(db, one, async () => {
    // The lock timeout is 10 seconds, the test's own limit more.
    await recordConfirm(own, id, confirmOf(one));
    await recordHeld(own, id, claim(one));
  });
  t.match(await holdings(db), [{ name: "one", count: 3 }]);
  await db.run("DELETE FROM holdings");
  const waiting: Promise<void>[] = [];
  await db.transaction(async (tx) => {
    await tx.run("SELECT 1 FROM slices FOR UPDATE");
    waiting.push(recordConfirm(own, id, confirmOf(one)), recordHeld(own, id, claim(one)));
    await untilBlocked(db, 2);
    await tx.run("DELETE FROM subscriptions");
    await tx.run("DELETE FROM grains");
    await tx.run("DELETE FROM slices");
  });
  await Promise.all(waiting);
  t.same(await holdings(db), []);
});

t.test("a subscription to a slice that is just being removed is refused, and says why", async (t) => {
  const { db, make, offer } = await open(t);
  const one = await make("one");
  let offered: Promise<unknown> = Promise.resolve();
  await db.transaction(async (tx) => {
    await tx.run("SELECT 1 FROM slices FOR UPDATE");
    offered = offer(one);
    offered.catch(() => {});
    await untilBlocked(db, 1);
    await tx.run("DELETE FROM grains");
    await tx.run("DELETE FROM slices");
  });
  await t.rejects(offered, { code: "conflict", message: "something that this needs was removed at the same time" });
});
