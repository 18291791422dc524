import { createHash, randomUUID } from "node:crypto";
import t from "tap";
import type { Session } from "../../src/database/database.ts";
import { everything } from "../../src/database/scope.ts";
import type { ContentKey } from "../../src/ids.ts";
import {
  clearGrains,
  deleteGrains,
  findGrain,
  findGrainByKey,
  inChunks,
  insertGrains,
  insertLargeGrain,
  listGrains,
  readPayload,
} from "../../src/slices/grain-store.ts";
import { changeSlice } from "../../src/slices/publish.ts";
import { chunkBytes, type Encoding } from "../../src/slices/rules/slice.ts";
import { openTestDatabase } from "../harness/open-database.ts";
import { Random } from "../harness/random.ts";

const sha256 = (...parts: Buffer[]) => createHash("sha256").update(Buffer.concat(parts)).digest();

/** The digest of PROTOCOL.md, "Digest of a grain", written down a second time. */
function expectedDigest(grain: { key: string; source: string; encoding: string }, payload: Buffer): string {
  const parts: Buffer[] = [];
  for (const text of [grain.key, grain.source, grain.encoding]) {
    const bytes = Buffer.from(text);
    const length = Buffer.alloc(4);
    length.writeUInt32BE(bytes.length);
    parts.push(length, bytes);
  }
  const length = Buffer.alloc(8);
  length.writeBigUInt64BE(BigInt(payload.length));
  parts.push(length);
  if (payload.length <= chunkBytes) parts.push(payload);
  else
    for (let at = 0; at < payload.length; at += chunkBytes) parts.push(sha256(payload.subarray(at, at + chunkBytes)));
  return sha256(...parts).toString("hex");
}

async function* pieces(payload: Buffer, size: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < payload.length; at += size) yield payload.subarray(at, at + size);
}

async function read(session: Session, grain: Parameters<typeof readPayload>[1]): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const piece of readPayload(session, grain)) {
    if (piece.length > chunkBytes) throw new Error(`a piece of ${piece.length} bytes`);
    parts.push(piece);
  }
  return Buffer.concat(parts);
}

t.test("the digest that SQL computes is the one of the protocol, whatever the size", async (t) => {
  const { db, slice } = await openTestDatabase(t);
  const { key, contentKey } = await slice("digests");
  const random = new Random(1);
  for (const size of [0, 1, 1000, chunkBytes - 1, chunkBytes, chunkBytes + 1, 2 * chunkBytes, 3.5 * chunkBytes]) {
    const payload = random.bytes(size);
    const grain = {
      id: randomUUID(),
      key: `Größe ${size}`,
      source: size % 2 ? "" : "früh.xml",
      encoding: "b64" as Encoding,
    };
    await db.session(async (session) => {
      const stored = await session.transaction((tx) =>
        insertLargeGrain(tx, contentKey, grain, pieces(payload, 300_000), 2 ** 40),
      );
      t.equal(stored, size);
      const row = await session.one<{ digest: Buffer; inline: boolean; chunks: number }>(
        `SELECT digest, payload IS NOT NULL AS inline, (SELECT count(*) FROM grain_chunks c WHERE c.grain_id = g.id) AS chunks
         FROM grains g WHERE content_key = $1 AND id = $2`,
        [contentKey, grain.id],
      );
      t.equal(row!.digest.toString("hex"), expectedDigest(grain, payload), `digest of ${size} bytes`);
      t.equal(row!.inline, size <= chunkBytes);
      t.equal(row!.chunks, size <= chunkBytes ? 0 : Math.ceil(size / chunkBytes));
      const found = (await findGrainByKey(session, everything, key, grain.key))!;
      t.match(found, { id: grain.id, key: grain.key, source: grain.source, encoding: "b64", bytes: size });
      t.ok((await read(session, found)).equals(payload), `payload of ${size} bytes`);
    });
  }
});

t.test("many small grains at once have the same digests, and keys are exact bytes", async (t) => {
  const { db, slice } = await openTestDatabase(t);
  const { key, contentKey } = await slice("small");
  const random = new Random(2);
  const texts = [
    "a",
    "A",
    " a",
    "a ",
    "é",
    "e\u0301",
    "key\twith\ttabs",
    "x'); DROP TABLE grains; --",
    "\\x00",
    "{1,2}",
    '"q"',
    "NULL",
  ];
  const grains = texts.map((text) => ({
    id: randomUUID(),
    key: text,
    source: text,
    encoding: "raw" as Encoding,
    payload: random.bytes(random.int(0, 2000)),
  }));
  await db.transaction((tx) => insertGrains(tx, contentKey, grains));
  const rows = await db.query<{ id: string; key: string; digest: Buffer }>(
    "SELECT id, grain_key AS key, digest FROM grains WHERE content_key = $1",
    [contentKey],
  );
  t.equal(rows.length, grains.length);
  for (const row of rows) {
    const grain = grains.find((each) => each.id === row.id)!;
    t.equal(row.key, grain.key);
    t.equal(row.digest.toString("hex"), expectedDigest(grain, grain.payload), JSON.stringify(grain.key));
  }
  t.match(await findGrain(db, everything, grains[0]!.id), { key: "a", contentKey });
  const ids = (await listGrains(db, everything, key)).map((row) => row.id);
  t.same(ids, ids.toSorted(), "in order of id");
  t.equal((await listGrains(db, everything, key, { limit: 5, offset: 10 })).length, 2);
});

t.test("a taken id or key is a conflict, and nothing is added", async (t) => {
  const { db, slice } = await openTestDatabase(t);
  const { key, contentKey } = await slice("conflicts");
  const { key: otherKey, contentKey: otherContent } = await slice("others");
  const make = (id: string, name: string) => ({
    id,
    key: name,
    source: "",
    encoding: "raw" as Encoding,
    payload: Buffer.from("x"),
  });
  const id = randomUUID();
  const insert = (to: ContentKey, ...grains: ReturnType<typeof make>[]) =>
    db.transaction((tx) => insertGrains(tx, to, grains));
  await insert(contentKey, make(id, "a"));
  await t.rejects(insert(contentKey, make(randomUUID(), "new"), make(id, "b")), {
    code: "conflict",
    message: /that id already/,
  });
  await t.rejects(insert(contentKey, make(randomUUID(), "new"), make(randomUUID(), "a")), {
    code: "conflict",
    message: /that key/,
  });
  t.equal((await listGrains(db, everything, key)).length, 1);
  await insert(otherContent, make(id, "a"));
  t.equal((await listGrains(db, everything, otherKey)).length, 1, "another slice may have the same id and key");
});

t.test("deleting takes the chunks along, and leaves other slices alone", async (t) => {
  const { db, slice } = await openTestDatabase(t);
  const first = await slice("first");
  const second = await slice("second");
  const id = randomUUID();
  const payload = Buffer.alloc(2.5 * chunkBytes, 7);
  for (const { contentKey } of [first, second]) {
    await db.transaction((tx) =>
      insertLargeGrain(
        tx,
        contentKey,
        { id, key: "k", source: "", encoding: "raw" },
        pieces(payload, payload.length),
        payload.length,
      ),
    );
  }
  const chunks = async () =>
    (
      await db.query<{ n: number }>("SELECT count(*) AS n FROM grain_chunks GROUP BY content_key ORDER BY content_key")
    ).map((r) => r.n);
  t.same(await chunks(), [3, 3]);
  t.equal(
    await db.transaction((tx) => deleteGrains(tx, first.contentKey, [id, randomUUID()])),
    1,
    "how many there were",
  );
  t.same(await chunks(), [3]);
  t.equal(await db.transaction((tx) => clearGrains(tx, second.contentKey)), 1);
  t.same(await chunks(), []);
});

t.test("a payload beyond the limit is refused", async (t) => {
  const { db, slice } = await openTestDatabase(t);
  const { key, contentKey } = await slice("limited");
  const grain = { id: randomUUID(), key: "k", source: "", encoding: "raw" as Encoding };
  for (const [size, limit] of [
    [101, 100],
    [chunkBytes + 1, chunkBytes],
    [3 * chunkBytes, 2 * chunkBytes],
  ] as const) {
    const insert = db.transaction((tx) =>
      insertLargeGrain(tx, contentKey, grain, pieces(Buffer.alloc(size), 5000), limit),
    );
    await t.rejects(insert, { code: "limit" }, `${size} of ${limit} bytes`);
  }
  t.equal((await db.one<{ n: number }>("SELECT count(*) AS n FROM grain_chunks"))!.n, 0, "no chunk stays behind");
  await db.transaction((tx) => insertLargeGrain(tx, contentKey, grain, pieces(Buffer.alloc(100), 7), 100));
  t.equal((await listGrains(db, everything, key)).length, 1, "exactly the limit is taken");
});

t.test("chunks are of 1 MiB but for the last, whatever the pieces", async (t) => {
  const payload = new Random(3).bytes(2 * chunkBytes + 12_345);
  for (const size of [1 << 10, 65_536, 99_991, chunkBytes, chunkBytes + 1, payload.length]) {
    const lengths: number[] = [];
    const hash = createHash("sha256");
    for await (const chunk of inChunks(pieces(payload, size))) {
      lengths.push(chunk.length);
      hash.update(chunk);
    }
    t.same(lengths, [chunkBytes, chunkBytes, 12_345], `pieces of ${size}`);
    t.equal(hash.digest("hex"), sha256(payload).toString("hex"));
  }
  for await (const _ of inChunks(pieces(Buffer.alloc(0), 1))) t.fail("nothing gives no chunk");
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
