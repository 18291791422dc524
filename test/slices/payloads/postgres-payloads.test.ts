import t from "tap";
import { parseConfig } from "../../../src/config/config.ts";
import { openDatabase } from "../../../src/database/database.ts";
import { postgresPayloads } from "../../../src/slices/payloads/postgres-payloads.ts";
import { chunkBytes } from "../../../src/slices/rules/slice.ts";
import { markBytes } from "../../../src/slices/rules/tally.ts";
import { openTestDatabase } from "../../harness/open-database.ts";
import { payloadContract, pieces } from "./contract.ts";

payloadContract(postgresPayloads);

t.test("up to 1 MiB lies in the grain's row, more in chunks, of which none is left behind", async (t) => {
  const { db, slice } = await openTestDatabase(t);
  const { contentKey } = await slice("places");
  const chunks = async () => (await db.one<{ n: number }>("SELECT count(*) AS n FROM grain_chunks"))!.n;
  for (const [size, expected] of [
    [0, 0],
    [chunkBytes, 0],
    [chunkBytes + 1, 2],
    [2 * chunkBytes, 2],
    [2.5 * chunkBytes, 3],
  ] as const) {
    const grain = { id: "00000000-0000-4000-8000-000000000001", key: "k", source: "", encoding: "raw" as const };
    await db.transaction((tx) =>
      postgresPayloads.putStream(tx, contentKey, grain, pieces(Buffer.alloc(size), 300_000), size),
    );
    t.equal(await chunks(), expected, `${size} bytes`);
    t.match(await db.query("SELECT payload IS NOT NULL AS inline FROM grains"), [{ inline: expected === 0 }]);
    const isIntact = () => db.session((s) => postgresPayloads.isIntact(s, { contentKey, id: grain.id, bytes: size }));
    t.equal(await isIntact(), true);
    if (expected > 0) {
      await db.run("UPDATE grain_chunks SET data = overlay(data placing '\\xff'::bytea from 3) WHERE seq = 1");
      t.equal(await isIntact(), false, "damage is seen");
    }
    t.equal((await db.transaction((tx) => postgresPayloads.delete(tx, contentKey, [grain.id]))).length, markBytes);
    t.equal(await chunks(), 0);
  }
});

t.test("damage of a payload in its row is seen, whatever its key and source are", async (t) => {
  const { db, slice, url } = await openTestDatabase(t);
  const { contentKey } = await slice("rotten");
  const grain = {
    id: "00000000-0000-4000-8000-000000000002",
    key: "a\\b\u00e9",
    source: "\\x",
    encoding: "b64" as const,
  };
  await db.transaction((tx) => postgresPayloads.put(tx, contentKey, [{ ...grain, payload: Buffer.from("rotor") }]));
  const where = { contentKey, id: grain.id, bytes: 5 };
  t.equal(await db.session((s) => postgresPayloads.isIntact(s, where)), true);
  // As a disk that rots: the digest does not follow.
  const config = parseConfig({ flags: [], environment: { SANDPIPER_DATABASE_URL: url }, file: "test.yaml" });
  const owner = await openDatabase(config, { as: "owner" });
  await owner.run("ALTER TABLE grains ALTER COLUMN digest DROP EXPRESSION").finally(() => owner.close());
  await db.run("UPDATE grains SET payload = 'motor'");
  t.equal(await db.session((s) => postgresPayloads.isIntact(s, where)), false);
});
