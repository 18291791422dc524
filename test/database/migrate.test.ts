/** A database that an older program has filled keeps what is in it, hash for hash. */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import t from "tap";
import { parseConfig } from "../../src/config/config.ts";
import { openDatabase } from "../../src/database/database.ts";
import { everything } from "../../src/database/scope.ts";
import { migrateDatabase } from "../../src/operations/migrate.ts";
import { computeContent } from "../../src/slices/refresh.ts";
import { requireSlice } from "../../src/slices/slice-store.ts";
import { createTestDatabase } from "../harness/test-database.ts";

const configOf = (url: string) =>
  parseConfig({ flags: [], environment: { SANDPIPER_DATABASE_URL: url }, file: "test.yaml" });

t.test("from 0001 on", async (t) => {
  const { url, name } = await createTestDatabase("upgrade");
  const admin = await openDatabase(configOf(url), { as: "owner" });
  await admin.run(`CREATE DATABASE ${name}_old TEMPLATE template0`);
  const old = new URL(url);
  old.pathname = `/${name}_old`;
  const owner = await openDatabase(configOf(old.toString()), { as: "owner" });
  t.teardown(async () => {
    await owner.close();
    await admin.run(`DROP DATABASE ${name}_old WITH (FORCE)`);
    await admin.close();
  });

  const first = readFileSync(
    fileURLToPath(new URL("../../../db/migrations/0001-initial.sql", import.meta.url)),
    "utf8",
  );
  await owner.run(
    "CREATE TABLE schema_migrations (version integer PRIMARY KEY, name text NOT NULL, checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())",
  );
  await owner.run(first);
  await owner.run("INSERT INTO schema_migrations VALUES (1, '0001-initial.sql', $1)", [
    createHash("sha256").update(first).digest("hex"),
  ]);
  const self = "00000000-0000-4000-8000-000000000001";
  await owner.run("INSERT INTO server (role, server_id) VALUES ('primary', $1)", [self]);
  await owner.run("INSERT INTO companies (id, name, name_key) VALUES ($1, 'Own', 'own')", [self]);
  await owner.run(
    "INSERT INTO slices (company_id, id, name, name_key, slice_type) SELECT $1, gen_random_uuid(), n, n, 'aces-items' FROM unnest($2::text[]) n",
    [self, ["first", "second"]],
  );
  // The digest as 0001's program computed it.
  const digest = (
    payload: string,
  ) => `sha256(int4send(octet_length(convert_to(grain_key, 'UTF8'))) || convert_to(grain_key, 'UTF8') ||
    int4send(octet_length(convert_to(source, 'UTF8'))) || convert_to(source, 'UTF8') || int4send(3) || convert_to(encoding, 'UTF8') || int8send(payload_bytes) || ${payload})`;
  await owner.run(
    `INSERT INTO grains SELECT g.*, ${digest("g.payload")} FROM (
       SELECT slice_key, gen_random_uuid() AS id, k AS grain_key, 'quelle ä' AS source, 'raw' AS encoding, 3::bigint AS payload_bytes, 'abc'::bytea AS payload
       FROM slices, unnest($1::text[]) k) g`,
    [["plain", "back\\slash \\x41", "Größe '\"", "\\"]],
  );
  await owner.run(
    "INSERT INTO grain_chunks SELECT slice_key, $1, n, decode(repeat(md5(n::text), 65536), 'hex') FROM slices, generate_series(0, 1) n",
    [self],
  );
  await owner.run(
    `INSERT INTO grains SELECT g.*, ${digest("(SELECT string_agg(sha256(data), ''::bytea ORDER BY seq) FROM grain_chunks c WHERE c.slice_key = g.slice_key)")} FROM (
       SELECT slice_key, $1::uuid AS id, 'large' AS grain_key, '' AS source, 'raw' AS encoding, 2097152::bigint AS payload_bytes, NULL::bytea AS payload FROM slices) g`,
    [self],
  );
  await owner.run(
    "UPDATE slices SET hash = repeat('0', 16), content_date = '2026-01-02 03:04:05Z' WHERE name = 'first'",
  );
  const list = (digest: string) =>
    `SELECT id, grain_key AS key, encode(${digest}, 'hex') AS digest FROM grains ORDER BY id, grain_key, digest`;
  // The digest as it is computed since 0013: with the id in front.
  const chunks =
    "(SELECT string_agg(sha256(data), ''::bytea ORDER BY seq) FROM grain_chunks c WHERE c.slice_key = grains.slice_key)";
  const before = await owner.query(
    list(digest(`coalesce(payload, ${chunks})`).replace("sha256(", "sha256(uuid_send(id) || ")),
  );
  t.equal(before.length, 10);

  t.same((await migrateDatabase(owner))[0], "0002-content-keys.sql");
  t.same(await owner.query(list("digest")), before, "the same grains with their digests");
  t.same(await owner.query("SELECT DISTINCT length(data) AS n FROM grain_chunks"), [{ n: 1_048_576 }]);
  const db = await openDatabase(configOf(old.toString()));
  t.teardown(() => db.close());
  for (const name of ["first", "second"]) {
    const { key, contentKey } = await requireSlice(db, name, everything);
    const content = await db.session((session) => computeContent(session, key, contentKey));
    t.match(content, { count: 5, bytes: 4 * 3 + 2_097_152 });
    const stored = await requireSlice(db, name, everything);
    // The second one was never published.
    if (name === "first")
      t.match(stored, { hash: content.hash, count: 5, contentDate: new Date("2026-01-02T03:04:05Z") });
    else t.match(stored, { hash: "", count: 0 });
  }
  const added =
    "INSERT INTO slices (company_id, id, name, name_key, slice_type) VALUES ($1, gen_random_uuid(), 'third', 'third', 'aces-items')";
  await db.run(added, [self]);
  t.same(
    await db.query("SELECT count(DISTINCT content_key) AS n FROM slices"),
    [{ n: 3 }],
    "a new slice has a content of its own",
  );
});
