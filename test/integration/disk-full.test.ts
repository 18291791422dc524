/** A disk that is full at the secondary: exit 9, all as before, the other slices done; and success once there is space. */
import { chownSync, closeSync, openSync, statSync, writeSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { parseConfig } from "../../src/config/config.ts";
import { openDatabase } from "../../src/database/database.ts";
import { vacuumGrains, vacuumOnFullDisk } from "../../src/database/vacuum-store.ts";
import { freeOn, noSmallDisk, resize, smallDisk } from "../harness/small-disk.ts";
import { addLines, events, makePair, offer, type Party } from "./parties.ts";

t.setTimeout(180_000);

/** As the superuser of the test server, in its own database or in this one. */
async function administer(url: string, ...statements: string[]): Promise<{ directory: string }> {
  const owner = await openDatabase(
    parseConfig({ flags: [], environment: { SANDPIPER_DATABASE_URL: url }, file: "t.yaml" }),
    { as: "owner" },
  );
  try {
    for (const statement of statements) await owner.run(statement);
    return (await owner.one<{ directory: string }>("SELECT current_setting('data_directory') AS directory"))!;
  } finally {
    await owner.close();
  }
}

/** Puts a party's database, not its log, onto a file system of `megabytes`. @returns where that is; undefined where it takes more rights. */
async function onSmallDisk(
  test: Parameters<typeof makePair>[0],
  party: Party,
  megabytes: number,
): Promise<string | undefined> {
  const { url, name } = party.database;
  const mount = await smallDisk(test, megabytes);
  if (mount === undefined) return undefined;
  const admin = new URL(url);
  admin.pathname = "/postgres";
  const { directory } = await administer(admin.toString());
  const { uid, gid } = statSync(directory);
  chownSync(mount, uid, gid);
  const space = `space_${name}`;
  test.teardown(async () => {
    await party.database.drop();
    await administer(admin.toString(), `DROP TABLESPACE ${space}`);
  });
  await administer(
    admin.toString(),
    `CREATE TABLESPACE ${space} LOCATION '${mount}'`,
    `ALTER DATABASE ${name} SET TABLESPACE ${space}`,
  );
  return mount;
}

t.test("a disk that is full", async (t) => {
  const { primary, secondary } = await makePair(t);
  for (const name of ["large", "small", "tiny"]) await offer(primary, name, "aces-items", secondary);
  // Tables and indexes that are empty take a page each for their first row, which a full disk has not.
  await secondary.ok(["sync"]);
  await primary.batch("large", addLines(0, 40_000, 1000));
  await primary.batch("small", addLines(0, 3));
  await primary.batch("tiny", addLines(0, 1));
  await secondary.close();
  const mount = await onSmallDisk(t, secondary, 40);
  if (mount === undefined) {
    t.skip(noSmallDisk, () => {});
    return;
  }
  for (const time of ["first", "second"]) {
    const run = await secondary.run(["sync", "--json"]);
    t.equal(run.code, 9, `${time}: ${run.stdout}`);
    t.match(
      events(run.stdout).find((event) => event.subscription === "large-Epicor"),
      { outcome: "failed", error: { code: "storage", message: "the database's disk is full" } },
    );
    t.match(
      events(run.stdout).at(-1),
      { failed: 1, [time === "first" ? "updated" : "unchanged"]: 2 },
      `${time}: the others are done`,
    );
  }
  resize(mount, 400);
  const after = await secondary.run(["sync", "--json"]);
  t.equal(after.code, 0, after.stdout);
  t.same(await secondary.content(), await primary.content());
  await secondary.close();
});

/** Leaves not a page on a disk. */
function fill(mount: string): void {
  const file = openSync(join(mount, "filler"), "w");
  try {
    for (let page = Buffer.alloc(4096); ; ) writeSync(file, page);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error;
  } finally {
    closeSync(file);
  }
}

t.test("a disk without a page left is given room again, in tables that were never vacuumed", async (t) => {
  const { secondary } = await makePair(t);
  await secondary.close();
  const mount = await onSmallDisk(t, secondary, 60);
  if (mount === undefined) {
    t.skip(noSmallDisk, () => {});
    return;
  }
  // What PostgreSQL does by itself would take pages too, or be quicker.
  await administer(secondary.database.url, "ALTER TABLE grain_rows SET (autovacuum_enabled = off)");
  const db = await secondary.db();
  const grains = "SELECT 7, gen_random_uuid(), n::text, '', 'raw', 500, repeat('x', 500)::bytea";
  await db.run(
    `INSERT INTO grains (content_key, id, grain_key, source, encoding, payload_bytes, payload) ${grains} FROM generate_series(1, 20000) n`,
  );
  await db.run("DELETE FROM grains");
  fill(mount);
  await db.session(async (session) => {
    await t.rejects(session.run(vacuumGrains), { code: "storage" }, "without the room that is kept it fails");
    await vacuumOnFullDisk(session);
  });
  t.ok(freeOn(mount) > 10_000_000, `${freeOn(mount)} bytes are free`);
  const spare = "SELECT pg_table_size('spare_room') AS bytes";
  t.ok((await db.one<{ bytes: number }>(spare))!.bytes > 400_000, "and is kept again");
  await secondary.close();
});
