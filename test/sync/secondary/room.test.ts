/** The room that a primary gets: its budget, and a disk that is as full as a test says. */
import { randomUUID } from "node:crypto";
import t, { type Test } from "tap";
import type { Company } from "../../../src/companies/company.ts";
import { addCompany } from "../../../src/companies/company-store.ts";
import type { Database } from "../../../src/database/database.ts";
import type { CompanyId } from "../../../src/ids.ts";
import { applyBatch } from "../../../src/slices/batch.ts";
import type { Slice } from "../../../src/slices/rules/slice.ts";
import { addSlice } from "../../../src/slices/slice-store.ts";
import { rowBytes } from "../../../src/sync/rules/budget.ts";
import { Room } from "../../../src/sync/secondary/room.ts";
import { openStage, Stage } from "../../../src/sync/secondary/stage.ts";
import { FakeDisk } from "../../harness/fake-disk.ts";
import { openTestDatabase } from "../../harness/open-database.ts";
import { addLines } from "../../integration/parties.ts";
import { record } from "../protocol/memory-pair.ts";

const mib = 2 ** 20;

/** A secondary with two primaries, and a disk if it can be seen. */
async function world(t: Test, { limit, seen = true }: { limit?: number; seen?: boolean } = {}) {
  const opened = await openTestDatabase(t, "secondary");
  const disk = new FakeDisk();
  const db: Database = seen ? { ...opened.db, disk } : opened.db;
  const companies = [];
  for (const name of ["Evil", "Prim"]) {
    const id = randomUUID() as CompanyId;
    companies.push(await addCompany(db, { id, name }));
  }
  const [evil, prim] = companies as [Company, Company];
  const slice = (of: Company, name: string) =>
    addSlice(db, { companyId: of.id, name: `${name} of ${of.name}`, type: "aces-items" });
  const rooms = new Map<Company, Room>();
  /** The room of a run with a primary. */
  const room = (of: Company, ofLimit = limit) => {
    const made = rooms.get(of) ?? new Room(db, opened.db as never, of, ofLimit);
    rooms.set(of, made);
    return made;
  };
  /** Begins to stage a slice with as many grains of 1 MiB as it is declared to have, and stages some of them. */
  const begin = async (of: Company, { key, name }: Slice, due: number, comes = due) => {
    const at = room(of);
    at.begin(key, name);
    await db.session(async (session) => {
      const soFar = await openStage(session, key, "h");
      await at.admit({ grains: due, bytes: due * mib }, 0);
      const stage = new Stage(session, key, soFar.contentKey);
      for (let n = 0; n < comes; n++) {
        const body = record({ id: randomUUID(), key: `part ${n}`, payload: Buffer.alloc(mib) });
        await at.take(body.length, 1);
        await stage.grains(body);
      }
      await stage.close();
    });
  };
  /** Slices for which something is staged, with how many grains of it. */
  const staged = async () => {
    const rows = await db.query<{ name: string; grains: number }>(
      "SELECT s.name, (SELECT count(*) FROM grains b WHERE b.content_key = g.content_key) AS grains FROM staging g JOIN slices s USING (slice_key)",
    );
    return Object.fromEntries(rows.filter(({ grains }) => grains > 0).map(({ name, grains }) => [name, grains]));
  };
  return { db, disk, evil, prim, slice, room, begin, staged };
}

t.test("a primary has a budget", async (t) => {
  const { evil, prim, slice, begin, staged } = await world(t, { limit: 10 * mib, seen: false });
  const [a, b, c] = [await slice(evil, "a"), await slice(evil, "b"), await slice(evil, "c")];
  const refused = { code: "limit", exitCode: 11, hint: /limits.primary_bytes/ };

  await t.rejects(begin(evil, a, 11), {
    ...refused,
    message: "slice a of Evil would bring what is stored here from Evil to 12 MB, more than the 10 MB that it may take",
  });
  t.same(await staged(), {}, "nothing of it was taken");
  await t.resolves(begin(evil, a, 9, 4), "what fits is");
  await t.resolves(begin(evil, b, 3), "though the other one is there in part");
  t.same(await staged(), { "a of Evil": 4, "b of Evil": 3 });

  await t.rejects(begin(evil, c, 20), refused);
  t.same(await staged(), { "a of Evil": 4, "b of Evil": 3 }, "nothing is given up for what does not fit anyway");
  await t.resolves(begin(evil, c, 5), "what is staged for others makes room");
  t.same(await staged(), { "b of Evil": 3, "c of Evil": 5 }, "the oldest first");
  await t.resolves(begin(prim, await slice(prim, "p"), 9), "another primary has a budget of its own");
  t.same(await staged(), { "b of Evil": 3, "c of Evil": 5, "p of Prim": 9 });

  await t.rejects(begin(evil, a, 1, 14), refused, "what comes counts, whatever was declared");
});

t.test("what is stored counts: payloads, keys, rows and metadata", async (t) => {
  const { db, evil, slice, room } = await world(t, { seen: false });
  const held = await slice(evil, "held");
  const key = "k".repeat(1000);
  const lines = addLines(0, 100, 1000).map(({ add }) => ({ add: { ...add, grain_key: add.grain_key + key } }));
  await applyBatch(db, held, lines, mib);
  await applyBatch(db, held, [{ metadata: { much: "m".repeat(5000) } }], mib);
  const row = (await db.one<{ bytes: number }>(
    "SELECT sum(payload_bytes + octet_length(grain_key) + octet_length(source))::bigint AS bytes FROM grains",
  ))!;
  const bytes = row.bytes + 100 * rowBytes + 5004;
  const more = await slice(evil, "more");
  for (const [limit, fits] of [
    [bytes + 999, false],
    [bytes + 1000, true],
  ] as const) {
    const at = new Room(db, db as never, evil, limit);
    at.begin(more.key, more.name);
    const admitted = at.admit({ grains: 0, bytes: 1000 }, 0);
    if (fits) await t.resolves(admitted);
    else await t.rejects(admitted, { code: "limit" });
  }
  const at = room(evil, bytes + 1000);
  at.begin(more.key, more.name);
  await at.admit({ grains: 0, bytes: 0 }, 0);
  at.addMetadata([["k", "v".repeat(999)]]);
  await t.resolves(at.take(0, 0));
  at.addMetadata([["k", "v"]]);
  await t.resolves(at.take(0, 0), "what was counted is measured before it is refused");
});

t.test("without a limit a primary may have a share of what there is for grains", async (t) => {
  const { db, disk, evil, prim, slice, begin, room } = await world(t);
  const p = await slice(prim, "p");
  disk.free = 130 * mib;
  await t.rejects(begin(evil, await slice(evil, "a"), 76, 0), { code: "limit" });
  await t.resolves(begin(evil, await slice(evil, "b"), 73, 0));
  room(evil).leave();
  await db.run("UPDATE slices SET content_bytes = $2 WHERE slice_key = $1", [p.key, 20 * mib]);
  const next = new Room(db, db as never, evil, undefined);
  next.begin(p.key, p.name);
  await t.rejects(next.admit({ grains: 1, bytes: 61 * mib }, 0), { code: "limit" });
  await t.resolves(next.admit({ grains: 1, bytes: 59 * mib }, 0));
});

t.test("the reserve of the disk is never promised", async (t) => {
  const { disk, evil, prim, slice, room, begin } = await world(t, { limit: 1e12 });
  const [a, p] = [await slice(evil, "a"), await slice(prim, "p")];
  disk.free = 100 * mib;
  await t.rejects(begin(evil, a, 70), {
    code: "storage",
    exitCode: 9,
    message:
      "about 78 MB of disk are needed for slice a of Evil: 105 MB are free, of which 31 MB are kept for the database itself",
    hint: "Free some space on the disk of /somewhere and run again: nothing was changed.",
  });
  t.ok(disk.cleaned > 0, "not before what was deleted was cleared away");
  await t.resolves(begin(evil, a, 40, 0));
  await t.rejects(begin(prim, p, 40, 0), { code: "storage" }, "what one was promised the other does not get");
  await t.resolves(begin(prim, p, 20, 0));
  room(evil).leave();
  await t.resolves(begin(prim, p, 40, 0), "unless the first is done");
});

t.test("when room is short, what is staged is given up, and not what is at work", async (t) => {
  const { db, disk, evil, prim, slice, room, begin, staged } = await world(t, { limit: 1e12 });
  const evils = [await slice(evil, "a"), await slice(evil, "b"), await slice(evil, "c")];
  const p = await slice(prim, "p");
  for (const one of evils) await begin(evil, one, 5);
  t.same(await staged(), { "a of Evil": 5, "b of Evil": 5, "c of Evil": 5 });
  disk.free = 30 * mib;
  const locked = await db.one<{ key: number }>("SELECT content_key AS key FROM staging WHERE slice_key = $1", [
    evils[0]!.key,
  ]);
  await db.session(async (other) => {
    // As another process that stages it.
    await other.run("SELECT pg_advisory_lock_shared(hashtextextended('sandpiper:stage:' || $1::bigint::text, 0))", [
      locked!.key,
    ]);
    await t.resolves(begin(prim, p, 3, 1));
    t.same(
      await staged(),
      { "a of Evil": 5, "c of Evil": 5, "p of Prim": 1 },
      "c is not done with, a is staged elsewhere",
    );
    await other.run("SELECT pg_advisory_unlock_all()");
  });
  await t.rejects(begin(prim, p, 30), { code: "storage" });
  t.same(await staged(), { "a of Evil": 5, "c of Evil": 5, "p of Prim": 1 }, "nothing is given up in vain");
  room(evil).leave();
  await t.resolves(begin(prim, p, 8, 0));
  t.same(await staged(), { "c of Evil": 5, "p of Prim": 1 }, "nobody is at a any more, and it is the oldest");
});

t.test("the disk is looked at while grains come", async (t) => {
  const { disk, evil, prim, slice, room, begin, staged } = await world(t, { limit: 1e12 });
  const [a, p] = [await slice(evil, "a"), await slice(prim, "p")];
  await begin(evil, a, 5);
  room(evil).leave();
  const at = room(prim);
  at.begin(p.key, p.name);
  await at.admit({ grains: 10, bytes: 10 * mib }, 0);
  disk.free = 21 * mib;
  await t.resolves(at.take(mib, 1), "somebody else has written more than was reckoned with");
  t.same(await staged(), { "a of Evil": 5 });
  disk.free = 15 * mib;
  await t.rejects(at.take(mib, 1), { code: "storage" });
  t.same(await staged(), {}, "what could be given up was");

  disk.free = 100 * mib;
  at.begin(p.key, p.name);
  await at.admit({ grains: 1, bytes: 100 }, 0);
  await t.resolves(at.take(5 * mib, 1), "it takes more than it said, and there is room");
  disk.free = 40 * mib;
  await t.rejects(at.take(30 * mib, 1), { code: "storage" }, "and now there is none beyond the reserve");
});
