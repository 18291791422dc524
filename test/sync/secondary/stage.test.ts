import { randomUUID } from "node:crypto";
import t from "tap";
import { openStage, Stage } from "../../../src/sync/secondary/stage.ts";
import { asOwner } from "../../bench/world.ts";
import { openTestDatabase } from "../../harness/open-database.ts";
import { record } from "../protocol/memory-pair.ts";

t.test("two grains with one key are refused, and what was staged with them is gone", async (t) => {
  const { db, slice } = await openTestDatabase(t, "secondary");
  const { key } = await slice("parts");
  const ids = [randomUUID(), randomUUID()].sort();
  const records = (keys: string[]) =>
    keys.map((name, i) => record({ id: ids[i]!, key: name, payload: Buffer.from("x") }));
  const staged = () =>
    db.one(`SELECT (SELECT count(*) FROM grains) AS grains, (SELECT count(*) FROM staging) AS stages,
      (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())) AS locks`);

  await db.session(async (session) => {
    const begin = async () => new Stage(session, key, (await openStage(session, key, "h")).contentKey);
    for (const inOneBatch of [true, false]) {
      const stage = await begin();
      const [first, second] = records(["part 1", "part 1"]) as [Buffer, Buffer];
      if (inOneBatch) await stage.grains(Buffer.concat([first, second]));
      else {
        await stage.grains(first);
        await stage.close();
        t.match(await staged(), { grains: 1, stages: 1, locks: 0 });
        await stage.grains(second);
      }
      const refused = await stage.close().catch((error) => error);
      t.match(refused, { code: "verification", exitCode: 8, message: "the primary sent two grains with one key" });
      await stage.keep();
      t.match(await staged(), { grains: 0, stages: 0, locks: 0 });
    }

    const stage = await begin();
    await stage.grains(Buffer.concat(records(["part 1", "part 2"])));
    await stage.close();
    t.match(await staged(), { grains: 2, stages: 1, locks: 0 }, "the session can be used");
    const settings = await session.one("SELECT current_setting('synchronous_commit') AS commit");
    t.match(settings, {
      commit: (await db.one<{ commit: string }>("SELECT current_setting('synchronous_commit') AS commit"))!.commit,
    });
  });
});

t.test("a database that is lost between two pieces is a fault of storage", async (t) => {
  const { db, slice, url } = await openTestDatabase(t, "secondary");
  const { key } = await slice("parts");
  const piece = (n: number) => record({ id: randomUUID(), key: `part ${n}`, payload: Buffer.alloc(100_000) });
  for (const restMs of [0, 50]) {
    const failed = db.session(async (session) => {
      const stage = new Stage(session, key, (await openStage(session, key, "h")).contentKey);
      await stage.grains(piece(1));
      await stage.grains(piece(2));
      await asOwner(url, (owner) => owner.run("SELECT pg_terminate_backend($1)", [session.backendPid]));
      await new Promise((resolve) => setTimeout(resolve, restMs));
      try {
        for (let n = 3; n < 6; n++) await stage.grains(piece(n));
        await stage.close();
      } finally {
        await stage.keep();
      }
    });
    await t.rejects(failed, { code: "storage", exitCode: 9 }, `noticed after ${restMs} ms`);
  }
});
