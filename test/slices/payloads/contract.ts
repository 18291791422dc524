/** What holds for every place where payloads may be (payload-store.ts). Another one is tested by one call of this. */
import { createHash, randomUUID } from "node:crypto";
import t from "tap";
import type { Database, Session } from "../../../src/database/database.ts";
import { type ContentKey, uuidBytes } from "../../../src/ids.ts";
import type { PayloadOf, PayloadStore, ReadFrom, SmallGrain } from "../../../src/slices/payloads/payload-store.ts";
import { unpackRecords } from "../../../src/slices/rules/records.ts";
import { chunkBytes, type Encoding } from "../../../src/slices/rules/slice.ts";
import { openTestDatabase } from "../../harness/open-database.ts";
import { Random } from "../../harness/random.ts";
import { record } from "../../sync/protocol/memory-pair.ts";

export const sha256 = (...parts: Buffer[]): Buffer => createHash("sha256").update(Buffer.concat(parts)).digest();

/** The digest of PROTOCOL.md, "Digest of a grain", written down a second time. */
function expectedDigest(grain: { id: string; key: string; source: string; encoding: string }, payload: Buffer): string {
  const parts: Buffer[] = [uuidBytes(grain.id)];
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

/** The mark of a grain (tally.ts), in hex. */
const markOf = (id: string, digest: string, bytes: number) =>
  `${id.replaceAll("-", "")}${digest}${bytes.toString(16).padStart(16, "0")}`;

/** The bytes in pieces of this size. */
export async function* pieces(payload: Buffer, size: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < payload.length; at += size) yield payload.subarray(at, at + size);
}

const sizes = [0, 1, 1000, chunkBytes - 1, chunkBytes, chunkBytes + 1, 2 * chunkBytes, 3.5 * chunkBytes];
const noLimit = 2 ** 40;
const grainOf = (key: string, payload: Buffer = Buffer.from("x"), id: string = randomUUID()): SmallGrain => ({
  id,
  key,
  source: "source",
  encoding: "raw",
  payload,
});

export function payloadContract(store: PayloadStore): void {
  const put = (db: Database, content: ContentKey, ...grains: SmallGrain[]) =>
    db.transaction((tx) => store.put(tx, content, grains));
  const putLarge = (db: Database, content: ContentKey, { payload, ...grain }: SmallGrain, limit = noLimit) =>
    db.transaction((tx) => store.putStream(tx, content, grain, pieces(payload, 300_000), limit));
  /** A payload whole. @throws when a piece is not as long as it should be. */
  const read = async (from: ReadFrom, payload: PayloadOf): Promise<Buffer> => {
    const parts: Buffer[] = [];
    for await (const piece of store.get(from, payload)) parts.push(piece);
    for (const [i, { length }] of parts.entries())
      if (length !== Math.min(chunkBytes, payload.bytes - i * chunkBytes))
        throw new Error(`a piece of ${length} bytes`);
    return Buffer.concat(parts);
  };
  const digests = async (db: Database, content: ContentKey) =>
    new Map(
      (
        await db.query<{ id: string; digest: string | null }>(
          "SELECT id, encode(digest, 'hex') AS digest FROM grains WHERE content_key = $1",
          [content],
        )
      ).map(({ id, digest }) => [id, digest]),
    );
  /** The ids under a content, in order. */
  const ids = (db: Database, content: ContentKey) =>
    db.transaction(async (tx) => {
      const { bytes } = await store.page(tx, content, { after: null }, { count: 1, bytes: 1 });
      return unpackRecords(bytes).map(({ id }) => id);
    });

  t.test("what was put comes out, with the digest of the protocol, whatever its size", async (t) => {
    const { db, slice } = await openTestDatabase(t);
    const { contentKey } = await slice("sizes");
    const random = new Random(1);
    for (const size of sizes) {
      const grain = {
        ...grainOf(`Größe ${size}`, random.bytes(size)),
        source: "früh.xml",
        encoding: "b64" as Encoding,
      };
      const { id, payload } = grain;
      const mark = await putLarge(db, contentKey, grain);
      const digest = expectedDigest(grain, payload);
      t.equal((await digests(db, contentKey)).get(id), digest, `digest of ${size} bytes`);
      t.equal(mark.toString("hex"), markOf(id, digest, size), `mark of ${size} bytes`);
      const where = { contentKey, id, bytes: size };
      t.ok((await read(db, where)).equals(payload), `${size} bytes`);
      await db.session(async (session) => {
        t.ok((await read(session, where)).equals(payload), `${size} bytes, in one session`);
        t.equal(await store.isIntact(session, where), true);
        for (const n of size <= chunkBytes ? [] : [0, 1]) {
          const piece = await store.piece(session, contentKey, uuidBytes(id), n);
          t.ok(piece?.equals(payload.subarray(n * chunkBytes, (n + 1) * chunkBytes)), `piece ${n} of ${size} bytes`);
        }
        t.equal(await store.piece(session, contentKey, uuidBytes(id), 4), undefined);
      });
    }
    for (const [over, is] of [
      [chunkBytes, true],
      [3 * chunkBytes, true],
      [4 * chunkBytes, false],
    ] as const)
      t.equal(await store.hasOver(db, contentKey, over), is, `over ${over} bytes`);
  });

  t.test("many at once have the same digests, and keys are exact bytes", async (t) => {
    const { db, slice } = await openTestDatabase(t);
    const { contentKey } = await slice("small");
    const random = new Random(2);
    const texts = ["a", "A", " a", "a ", "é", "e\u0301", "key\twith\ttabs", "x'); DROP TABLE grains; --"];
    texts.push("\\x00", "{1,2}", '"q"', "NULL");
    const grains = texts.map((text) => ({ ...grainOf(text, random.bytes(random.int(0, 2000))), source: text }));
    await put(db, contentKey, ...grains);
    const stored = await digests(db, contentKey);
    t.equal(stored.size, grains.length);
    for (const grain of grains)
      t.equal(stored.get(grain.id), expectedDigest(grain, grain.payload), JSON.stringify(grain.key));
    const { bytes } = await db.transaction((tx) =>
      store.page(tx, contentKey, { after: null }, { count: texts.length, bytes: 1 }),
    );
    const expected = grains
      .map((grain) => ({ ...grain, bytes: grain.payload.length }))
      .toSorted((a, b) => (a.id < b.id ? -1 : 1));
    t.same(unpackRecords(bytes), expected);
  });

  t.test("a taken id or key is a conflict, and nothing is added", async (t) => {
    const { db, slice } = await openTestDatabase(t);
    const [one, other] = [(await slice("one")).contentKey, (await slice("other")).contentKey];
    const first = grainOf("a");
    await put(db, one, first);
    const id = { code: "conflict", message: /that id already/ };
    const key = { code: "conflict", message: /that key already/ };
    await t.rejects(put(db, one, grainOf("new"), grainOf("b", undefined, first.id)), id);
    await t.rejects(put(db, one, grainOf("new"), grainOf("a")), key);
    const large = Buffer.alloc(chunkBytes + 1);
    await t.rejects(putLarge(db, one, grainOf("a", large)), key);
    await t.rejects(putLarge(db, one, grainOf("b", large, first.id)), id);
    t.same(await ids(db, one), [first.id]);
    t.equal(await store.hasOver(db, one, chunkBytes), false, "no piece stays behind");
    await put(db, other, first);
    t.same(await ids(db, other), [first.id], "another slice may have the same id and key");
    await t.rejects(
      db.transaction((tx) => store.move(tx, other, one)),
      { code: "conflict" },
    );
    t.same([await ids(db, one), await ids(db, other)], [[first.id], [first.id]]);
  });

  t.test("a payload beyond the limit is refused", async (t) => {
    const { db, slice } = await openTestDatabase(t);
    const { contentKey } = await slice("limited");
    for (const [size, limit] of [
      [101, 100],
      [chunkBytes + 1, chunkBytes],
      [3 * chunkBytes, 2 * chunkBytes],
    ] as const)
      await t.rejects(
        putLarge(db, contentKey, grainOf("k", Buffer.alloc(size)), limit),
        { code: "limit" },
        `${size} of ${limit} bytes`,
      );
    t.same(await ids(db, contentKey), []);
    t.equal(await store.hasOver(db, contentKey, chunkBytes), false, "no piece stays behind");
    await putLarge(db, contentKey, grainOf("k", Buffer.alloc(100)), 100);
    t.equal((await ids(db, contentKey)).length, 1, "exactly the limit is taken");
  });

  t.test("what is deleted or moved takes its pieces along, and leaves other contents alone", async (t) => {
    const { db, slice } = await openTestDatabase(t);
    const contents = [await slice("first"), await slice("second"), await slice("third")].map((s) => s.contentKey);
    const [first, second, third] = contents as [ContentKey, ContentKey, ContentKey];
    const payload = Buffer.alloc(2.5 * chunkBytes, 7);
    const grain = grainOf("k", payload);
    for (const content of [first, second]) await putLarge(db, content, grain);
    const has = async (content: ContentKey) =>
      (await store.hasOver(db, content, chunkBytes)) ? await ids(db, content) : (await ids(db, content)).length;
    const remove = (content: ContentKey, ...which: string[]) =>
      db.transaction((tx) => store.delete(tx, content, which));
    t.equal(
      (await remove(first, grain.id, randomUUID())).toString("hex"),
      markOf(grain.id, expectedDigest(grain, payload), payload.length),
      "the marks of those that there were",
    );
    t.same([await has(first), await has(second)], [0, [grain.id]]);
    await t.rejects(read(db, { contentKey: first, id: grain.id, bytes: payload.length }), { code: "deferred" });

    await db.transaction((tx) => store.move(tx, second, third));
    t.same([await has(second), await has(third)], [0, [grain.id]]);
    t.ok((await read(db, { contentKey: third, id: grain.id, bytes: payload.length })).equals(payload));
    await put(db, third, grainOf("small"));
    const rolledBack = db.transaction(async (tx) => {
      await store.clear(tx, third);
      throw new Error("no");
    });
    await t.rejects(rolledBack);
    t.ok((await read(db, { contentKey: third, id: grain.id, bytes: payload.length })).equals(payload));
    t.equal(await db.transaction((tx) => store.clear(tx, third)), 2);
    t.same(await has(third), 0);
    await t.rejects(read(db, { contentKey: third, id: grain.id, bytes: 1 }), { code: "deferred" });
  });

  t.test(
    "records and pieces that arrive one by one make the same grains, and it is known how far they came",
    async (t) => {
      const { db, slice } = await openTestDatabase(t);
      const { contentKey } = await slice("arriving");
      const random = new Random(4);
      const payload = random.bytes(2 * chunkBytes + 5);
      const [a, b] = [randomUUID(), randomUUID()].sort() as [string, string];
      const [small, large] = [grainOf("small", random.bytes(100), a), grainOf("large", payload, b)];
      const at = (tx: Session) => store.arrived(tx, contentKey);
      await db.transaction(async (tx) => {
        await tx.run("SELECT set_config('sandpiper.content_key', $1, true)", [String(contentKey)]);
        t.same(await at(tx), { grains: 0, bytes: 0, after: null, large: null });
        await store.putRecords(tx, [record(small)]);
        t.same(await at(tx), { grains: 1, bytes: 100, after: uuidBytes(a), large: null });
        await store.putRecords(tx, [record(large)]);
        const soFar = { grains: 2, bytes: 100 + payload.length, after: uuidBytes(b) };
        t.same(await at(tx), { ...soFar, large: { left: payload.length, sequence: 0 } });
        let sequence = 0;
        for await (const piece of pieces(payload, chunkBytes)) {
          await store.putPiece(tx, contentKey, b, sequence++, piece);
          const left = Math.max(0, payload.length - sequence * chunkBytes);
          t.same(await at(tx), { ...soFar, large: left === 0 ? null : { left, sequence } });
        }
        await store.digest(tx, contentKey);
      });
      const stored = await digests(db, contentKey);
      for (const grain of [small, large]) {
        t.equal(stored.get(grain.id), expectedDigest(grain, grain.payload), grain.key);
        t.ok((await read(db, { contentKey, id: grain.id, bytes: grain.payload.length })).equals(grain.payload));
      }
    },
  );

  t.test("pages are bounded by bytes, whichever grains are chosen", async (t) => {
    const { db, slice } = await openTestDatabase(t);
    const { contentKey } = await slice("pages");
    const random = new Random(5);
    const grains = Array.from({ length: 40 }, (_, i) => grainOf(`${i}`, random.bytes(i % 4 === 0 ? 400_000 : 50)));
    grains.push(grainOf("largest", random.bytes(chunkBytes)));
    const large = grainOf("large", random.bytes(chunkBytes + 1));
    await put(db, contentKey, ...grains);
    await putLarge(db, contentKey, large);
    const all = [...grains, large].toSorted((a, b) => (a.id < b.id ? -1 : 1));
    const of = { count: all.length, bytes: all.reduce((sum, { payload }) => sum + payload.length, 0) };
    const chosen = all.filter(({ payload }) => payload.length > 100);
    for (const wanted of [undefined, chosen]) {
      const found: SmallGrain[] = [];
      for (let after: Buffer | null = null; ; ) {
        const rest = Buffer.concat((wanted ?? []).slice(found.length).map(({ id }) => uuidBytes(id)));
        const which = wanted === undefined ? { after } : { ids: rest };
        const { bytes, ends } = await db.transaction((tx) => store.page(tx, contentKey, which, of));
        if (ends.length === 0) break;
        t.ok(bytes.length <= 2 * chunkBytes + 4096, `${bytes.length} bytes at once`);
        t.equal(ends.at(-1), bytes.length);
        for (const { bytes: length, payload, ...grain } of unpackRecords(bytes)) {
          t.equal(payload === null, length > chunkBytes, "payloads over 1 MiB are left out");
          found.push({ ...grain, payload: payload ?? large.payload });
          after = uuidBytes(grain.id);
        }
      }
      t.same(found, wanted ?? all);
    }
  });
}
