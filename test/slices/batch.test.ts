import { createHash, randomUUID } from "node:crypto";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { gzipSync } from "node:zlib";
import t from "tap";
import type { Database } from "../../src/database/database.ts";
import { everything } from "../../src/database/scope.ts";
import { applyBatch, type BatchLine, batchLine } from "../../src/slices/batch.ts";
import { findGrainByKey, listGrains } from "../../src/slices/grain-store.ts";
import { payloads } from "../../src/slices/payloads/payloads.ts";
import { referenceHash } from "../../src/slices/reference-hash.ts";
import { armour } from "../../src/slices/rules/encoding.ts";
import { emptyHash } from "../../src/slices/rules/hash.ts";
import { chunkBytes, maxMetadataBytes, maxMetadataPairs, type Slice } from "../../src/slices/rules/slice.ts";
import { addSlice, readMetadata, requireSlice } from "../../src/slices/slice-store.ts";
import { FakeDisk } from "../harness/fake-disk.ts";
import { openTestDatabase } from "../harness/open-database.ts";
import { Random } from "../harness/random.ts";

const noLimit = 2 ** 40;

/** As it comes over REST: parsed from JSON. */
const lines = (...inputs: unknown[]): BatchLine[] => inputs.map((input) => batchLine.parse(input));
const add = (grain_key: string, payload = "x", more: object = {}) => ({
  add: { grain_key, encoding: "raw", payload, ...more },
});
const keys = async (db: Database, slice: Slice) =>
  (await listGrains(db, everything, slice.key)).map((g) => g.key).sort();
const state = async (db: Database, slice: Slice) => {
  const now = await requireSlice(db, slice.id);
  const { hash, count, bytes, contentDate } = now;
  return {
    hash,
    contentHash: await referenceHash(db, now),
    count,
    bytes,
    contentDate,
    keys: await keys(db, slice),
    meta: await readMetadata(db, slice.key),
  };
};

t.test("adds, deletes and metadata are applied in their order", async (t) => {
  const { db, slice } = await openTestDatabase(t);
  const target = await slice("ordered");
  const id = randomUUID();
  const first = await applyBatch(
    db,
    target,
    lines(
      add("a", "1", { id }),
      add("b", "2"),
      { metadata: { season: "winter", year: "2026" } },
      add("c", "3", { source: "f.xml" }),
    ),
    noLimit,
  );
  t.match(first, { added: 3, removed: 0, content: { count: 3, bytes: 3 } });
  t.match(await state(db, target), {
    count: 3,
    keys: ["a", "b", "c"],
    meta: [
      ["season", "winter"],
      ["year", "2026"],
    ],
    hash: first.content.hash,
  });

  const second = await applyBatch(
    db,
    target,
    lines({ delete: id.toUpperCase() }, { delete_key: "b" }, add("d")),
    noLimit,
  );
  t.match(second, { added: 1, removed: 2 });
  t.same(await keys(db, target), ["c", "d"]);
  t.not(second.content.hash, first.content.hash);

  const third = await applyBatch(db, target, lines(add("e"), { delete_key: "e" }, add("e", "again")), noLimit);
  t.match(third, { added: 2, removed: 1 }, "what a batch has added it can delete again");
  t.same(await keys(db, target), ["c", "d", "e"]);

  const all = await applyBatch(db, target, lines({ delete_all: true }, add("f")), noLimit);
  t.match(all, { added: 1, removed: 3 });
  t.same(await keys(db, target), ["f"]);

  await applyBatch(db, target, lines(add("g"), { delete_all: true }), noLimit);
  t.match(await state(db, target), { count: 0, bytes: 0, keys: [] }, "also what it added before");
});

t.test("a grain is replaced under its key by a new one, never changed", async (t) => {
  const { db, slice } = await openTestDatabase(t);
  const target = await slice("replace");
  await applyBatch(db, target, lines(add("k", "old")), noLimit);
  const before = await findGrainByKey(db, everything, target.key, "k");
  await applyBatch(db, target, lines({ delete_key: "k" }, add("k", "new")), noLimit);
  const after = await findGrainByKey(db, everything, target.key, "k");
  t.not(after!.id, before!.id);
  await applyBatch(db, target, lines({ delete: after!.id }, add("k", "newest")), noLimit);
  const newest = (await findGrainByKey(db, everything, target.key, "k"))!;
  t.equal((await db.session((s) => buffer(Readable.from(payloads.get(s, newest))))).toString(), "newest");
  await t.rejects(applyBatch(db, target, lines(add("k", "x")), noLimit), {
    code: "conflict",
    message: /that key already/,
  });
  await t.rejects(applyBatch(db, target, lines(add("j", "x", { id: newest.id })), noLimit), {
    code: "conflict",
    message: /that id/,
  });
  await t.rejects(
    applyBatch(db, target, lines(add("j"), add("j")), noLimit),
    { code: "conflict" },
    "twice in one batch",
  );
});

t.test("a batch that fails anywhere changes nothing", async (t) => {
  const { db, slice } = await openTestDatabase(t);
  const target = await slice("atomic");
  await applyBatch(db, target, lines(add("a"), add("b"), { metadata: { m: "1" } }), noLimit);
  const before = await state(db, target);
  const good = [{ delete_key: "a" }, add("c"), { metadata: { m: "2", n: "3" } }];
  const failures: [string, unknown[], { code: string; message?: RegExp }][] = [
    ["a key that is not there", [{ delete_key: "nothing" }], { code: "not_found", message: /"nothing"/ }],
    ["an id that is not there", [{ delete: randomUUID() }], { code: "not_found" }],
    ["a key that is taken", [add("b")], { code: "conflict" }],
    ["a payload too large", [add("d", "x".repeat(101))], { code: "limit" }],
    ["no base64", [add("d", "%", { encoding: "b64" })], { code: "usage" }],
    ["no gzip", [add("d", "eA==", { encoding: "z64" })], { code: "usage" }],
    ["a metadata key without a name", [{ metadata: { "": "x" } }], { code: "usage" }],
    ["a metadata value with NUL", [{ metadata: { k: "\0" } }], { code: "usage" }],
  ];
  for (const [what, bad, error] of failures) {
    for (const batch of [lines(...good, ...bad), lines(...bad, ...good)]) {
      await t.rejects(applyBatch(db, target, batch, 100), error, what);
      t.same(await state(db, target), before, `after ${what}`);
    }
  }
  async function* interrupted(): AsyncGenerator<BatchLine> {
    yield* lines(...good);
    throw new Error("the client went away");
  }
  await t.rejects(applyBatch(db, target, interrupted(), noLimit), { message: "the client went away" });
  t.same(await state(db, target), before);
});

t.test("metadata is merged, and null deletes", async (t) => {
  const { db, slice } = await openTestDatabase(t);
  const target = await slice("metadata");
  await applyBatch(db, target, lines({ metadata: { b: "2", a: "1", ä: "3" } }), noLimit);
  const three = await state(db, target);
  t.same(three.meta, [
    ["a", "1"],
    ["b", "2"],
    ["ä", "3"],
  ]);
  t.equal(three.contentHash, createHash("sha1").update("a1b2ä3").digest("hex"), "as the Go reference");
  await applyBatch(db, target, lines({ metadata: { a: null, b: "two", unknown: null } }), noLimit);
  t.same((await state(db, target)).meta, [
    ["b", "two"],
    ["ä", "3"],
  ]);
  await applyBatch(db, target, lines({ metadata: { b: null, ä: null } }), noLimit);
  t.match(await state(db, target), { hash: emptyHash, contentHash: "", meta: [] });
});

t.test("metadata line by line costs no more than at once", async (t) => {
  const { db, slice } = await openTestDatabase(t);
  const target = await slice("line by line");
  const each = Array.from({ length: maxMetadataPairs }, (_, i) => ({ metadata: { [`key ${i}`]: `value ${i}` } }));
  const timed = async (batch: BatchLine[]) => {
    const begun = performance.now();
    const { content } = await applyBatch(db, target, batch, noLimit);
    return { content, ms: performance.now() - begun };
  };
  const atOnce = await timed([{ metadata: Object.assign({}, ...each.map(({ metadata }) => metadata)) }]);
  const { content, ms } = await timed([...lines(add("a")), ...each, { delete_key: "a" }]);
  t.ok(ms < 2000 + 3 * atOnce.ms, `${Math.round(ms)} ms, and ${Math.round(atOnce.ms)} ms at once`);
  t.equal(content.metadata.length, maxMetadataPairs);
  t.same((await readMetadata(db, target.key)).at(-1), ["key 9999", "value 9999"]);
});

t.test("metadata has a limit as a whole, and what is beyond it changes nothing", async (t) => {
  const { db, slice } = await openTestDatabase(t);
  const target = await slice("whole");
  const pairs = (n: number) => Object.fromEntries(Array.from({ length: n }, (_, i) => [`k${i}`, ""]));
  const value = "ö".repeat(10_000);
  await t.rejects(applyBatch(db, target, lines({ metadata: pairs(5000) }, { metadata: pairs(10_001) }), noLimit), {
    code: "limit",
    message: /10001 pairs of metadata, more than the 10000/,
  });
  // 52 values of 20,000 bytes and their keys, and one that fills the rest.
  const most = Object.fromEntries(Array.from({ length: 52 }, (_, i) => [`v${String(i).padStart(3, "0")}`, value]));
  const rest = "x".repeat(maxMetadataBytes - 52 * 20_004 - 1);
  await applyBatch(db, target, lines({ metadata: { ...most, r: rest } }), noLimit);
  const full = await state(db, target);
  t.equal(full.meta.length, 53);
  const bytesBeyond = { code: "limit", message: /1048577 bytes of metadata, .* more than the 1048576/ };
  await t.rejects(applyBatch(db, target, lines(add("a"), { metadata: { r: `${rest}x` } }), noLimit), bytesBeyond);
  t.same(await state(db, target), full);
  await t.rejects(
    addSlice(db, {
      companyId: target.companyId,
      name: "new",
      type: "aces-file",
      metadata: Object.entries(pairs(10_001)),
    }),
    { code: "limit", message: /10001 pairs/ },
  );

  // One that was filled before there was a limit can be made smaller in one batch, in as many lines as it takes.
  await db.run("INSERT INTO slice_metadata SELECT $1, 'old ' || i, '' FROM generate_series(1, 10001) i", [target.key]);
  const tooMany = { code: "limit", message: /10053 pairs/ };
  await t.rejects(applyBatch(db, target, lines({ metadata: { r: null } }), noLimit), tooMany);
  await applyBatch(db, target, lines(add("a")), noLimit);
  const fewer = Array.from({ length: 10_001 }, (_, i) => ({ metadata: { [`old ${i + 1}`]: null } }));
  await applyBatch(db, target, [{ delete_key: "a" }, ...fewer], noLimit);
  t.equal((await state(db, target)).hash, full.hash);
});

t.test("a batch that comes to the same changes neither hash nor date", async (t) => {
  const { db, slice } = await openTestDatabase(t);
  const target = await slice("same");
  await applyBatch(db, target, lines(add("a"), { metadata: { k: "v" } }), noLimit);
  const before = await state(db, target);
  await applyBatch(db, target, lines({ metadata: { k: "v" } }, add("b"), { delete_key: "b" }), noLimit);
  t.same(await state(db, target), before);
});

t.test("payloads of every encoding and size arrive without their armour", async (t) => {
  const { db, slice } = await openTestDatabase(t);
  const target = await slice("payloads");
  const random = new Random(11);
  for (const size of [0, 10, chunkBytes, chunkBytes + 1, 3.5 * chunkBytes]) {
    const bytes = random.bytes(size);
    for (const encoding of ["b64", "z64", "a85"] as const) {
      const stored = encoding === "z64" ? gzipSync(bytes) : bytes;
      await applyBatch(db, target, lines(add(`${encoding} ${size}`, armour(encoding, stored), { encoding })), noLimit);
      const grain = (await findGrainByKey(db, everything, target.key, `${encoding} ${size}`))!;
      t.match(grain, { encoding, bytes: stored.length });
      t.ok(
        (await db.session((s) => buffer(Readable.from(payloads.get(s, grain))))).equals(stored),
        `${encoding} ${size}`,
      );
    }
  }
});

t.test("thousands of lines, more than one statement takes", async (t) => {
  const { db, slice } = await openTestDatabase(t);
  const target = await slice("thousands");
  const numbers = Array.from({ length: 2500 }, (_, i) => i);
  const ids = numbers.map(() => randomUUID());
  const many = numbers.map((i) => add(`part ${i}`, `${i}`, { id: ids[i] }));
  const { content } = await applyBatch(db, target, lines(...many), noLimit);
  t.equal(content.count, 2500);
  const deletes = ids.map((id) => ({ delete: id }));
  const most = await applyBatch(db, target, lines(...deletes.slice(0, 2100)), noLimit);
  t.match(most, { removed: 2100, content: { count: 400 } });
  await t.rejects(applyBatch(db, target, lines(...deletes.slice(2099)), noLimit), { code: "not_found" });
  t.equal((await keys(db, target)).length, 400, "one of them was gone already: nothing is deleted");
});

t.test("lines that are none are refused by the schema", async (t) => {
  for (const bad of [
    {},
    null,
    [],
    { delete: "x" },
    { delete_all: false },
    { delete_key: "" },
    { delete_key: "k".repeat(1025) },
    { delete: randomUUID(), add: add("a").add },
    { add: { grain_key: "a", encoding: "zip", payload: "" } },
    { add: { grain_key: "a", encoding: "raw" } },
    { add: { grain_key: "a", encoding: "raw", payload: 5 } },
    { add: { grain_key: "a\0", encoding: "raw", payload: "" } },
    { add: { grain_key: "a", encoding: "raw", payload: "", more: 1 } },
    { add: { grain_key: "a", encoding: "raw", payload: "", id: "level-1" } },
    { metadata: { a: 1 } },
    { metadata: [] },
    { update: {} },
  ]) {
    t.equal(batchLine.safeParse(bad).success, false, JSON.stringify(bad).slice(0, 60));
  }
  const odd = "11111111-2222-3333-4444-AAAAAAAAAAAA";
  t.match(batchLine.parse({ delete: odd }), { delete: odd.toLowerCase() }, "ids outside RFC 9562, in lower case");
});

t.test("a disk that is nearly full takes no more, and has back what a batch took", async (t) => {
  const opened = await openTestDatabase(t);
  const disk = new FakeDisk();
  const db: Database = { ...opened.db, disk };
  const target = await opened.slice("target");
  await applyBatch(db, target, lines(add("a")), noLimit);
  const mib = 2 ** 20;
  for (const payload of ["y", "x".repeat(2 * chunkBytes)]) {
    const before = await state(db, target);
    disk.free = 14 * mib;
    disk.cleaned = 0;
    await t.rejects(applyBatch(db, target, lines(add("b"), add("c", payload)), noLimit), {
      code: "storage",
      message: "the disk of the database is full: 15 MB are free, of which 31 MB are kept for the database itself",
    });
    t.ok(disk.cleaned > 0);
    t.same(await state(db, target), before);
    disk.free = 16 * mib;
    const again = await applyBatch(db, target, lines(add("b"), add("c", payload), { delete_key: "c" }), noLimit);
    t.match(again, { added: 2 }, "the reserve may be touched by those who are at work");
    await applyBatch(db, target, lines({ delete_key: "b" }), noLimit);
  }
});

t.test("an id says what is in a grain: other bytes under one that the slice had are refused", async (t) => {
  const { db, slice } = await openTestDatabase(t);
  const target = await slice("ids");
  const [one, two] = [randomUUID(), randomUUID()];
  const large = "x".repeat(chunkBytes + 1);
  await applyBatch(db, target, lines(add("a", "1", { id: one }), add("b", large, { id: two })), noLimit);
  const before = await state(db, target);
  for (const gone of [
    [{ delete: one }, { delete: two }],
    [{ delete_key: "a" }, { delete_key: "b" }],
    [{ delete_all: true }],
  ]) {
    const name = JSON.stringify(gone[0]);
    for (const other of [add("a", "2", { id: one }), add("c", "1", { id: one }), add("b", `${large}x`, { id: two })])
      await t.rejects(
        applyBatch(db, target, lines(...gone, other), noLimit),
        { code: "conflict", message: /had another grain/ },
        name,
      );
    t.same(await state(db, target), before, `${name}: nothing is changed`);
    // What was never shown, nobody has.
    await applyBatch(
      db,
      target,
      lines(
        ...gone,
        add("b", large, { id: two }),
        add("d", "1", { id: randomUUID() }),
        { delete_key: "d" },
        add("a", "1", { id: one }),
      ),
      noLimit,
    );
    t.same(
      await state(db, target),
      { ...before, contentDate: before.contentDate },
      `${name}: the same grains again are the same slice`,
    );
  }
  await applyBatch(db, target, lines({ delete: one }), noLimit);
  await applyBatch(db, target, lines(add("a", "another", { id: one })), noLimit);
  t.equal((await state(db, target)).count, 2, "an id that the slice does not have is free");
});

t.test("deleting everything twice, and adding in between", async (t) => {
  const { db, slice } = await openTestDatabase(t);
  const target = await slice("twice");
  await applyBatch(db, target, lines(add("a"), add("b")), noLimit);
  const { added, removed, content } = await applyBatch(
    db,
    target,
    lines({ delete_all: true }, add("a", "1"), add("c"), { delete_all: true }, add("a", "2")),
    noLimit,
  );
  t.same([added, removed, content.count], [3, 4, 1]);
  t.same(await keys(db, target), ["a"]);
  t.same(await db.query("SELECT count(*) AS n FROM grains"), [{ n: 1 }], "nothing is left of what was set aside");
});
