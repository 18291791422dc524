import { createHash } from "node:crypto";
import { appendFileSync } from "node:fs";
import { appendFile, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { gunzipSync } from "node:zlib";
import t from "tap";
import type { Database } from "../../src/database/database.ts";
import { everything } from "../../src/database/scope.ts";
import { applyBatch } from "../../src/slices/batch.ts";
import { changeSlice } from "../../src/slices/change-slice.ts";
import { openContent } from "../../src/slices/file-content.ts";
import { type GrainRow, listGrains } from "../../src/slices/grain-store.ts";
import { payloads } from "../../src/slices/payloads/payloads.ts";
import { publishFile } from "../../src/slices/publish-file.ts";
import { referenceHash } from "../../src/slices/reference-hash.ts";
import { computeContent } from "../../src/slices/refresh.ts";
import { emptyHash } from "../../src/slices/rules/hash.ts";
import { chunkBytes, type Slice } from "../../src/slices/rules/slice.ts";
import { requireSlice } from "../../src/slices/slice-store.ts";
import { acesBytes } from "../harness/aces.ts";
import { explained } from "../harness/explained.ts";
import { FakeDisk } from "../harness/fake-disk.ts";
import { openTestDatabase } from "../harness/open-database.ts";
import { Random } from "../harness/random.ts";
import { scratch } from "../harness/scratch.ts";

const noLimit = 2 ** 40;
const grainsOf = (db: Database, slice: Slice) => listGrains(db, everything, slice.key);
const content = (db: Database, grain: GrainRow) => db.session((s) => buffer(Readable.from(openContent(s, grain))));
const stored = (db: Database, grain: GrainRow) => db.session((s) => buffer(Readable.from(payloads.get(s, grain))));

t.test("the bytes of the file that comes out are the bytes that went in", async (t) => {
  const { db, slice } = await openTestDatabase(t);
  const directory = await scratch(t);
  const random = new Random(5);
  const files: Record<string, Buffer> = {
    "aces-latin1.xml": acesBytes({ applications: 2000, seed: 1 }),
    "aces cp1252.xml": acesBytes({ applications: 200, seed: 2, variant: "cp1252" }),
    "ACES-BOM.XML": acesBytes({ applications: 200, seed: 3, variant: "utf8" }),
    "Größe – 日本.bin": random.bytes(3.5 * chunkBytes), // does not compress: chunked
    ".hidden": Buffer.from("x"),
  };
  for (const [name, bytes] of Object.entries(files)) {
    await writeFile(join(directory, name), bytes);
    const target = await slice(`slice of ${name}`);
    const published = await publishFile(db, target, join(directory, name), noLimit);
    t.match(published, { changed: true, fileBytes: bytes.length });
    const [grain, ...others] = await grainsOf(db, target);
    t.same(others, []);
    t.match(grain, {
      key: "level-1",
      source: name,
      encoding: "z64",
      id: published.grainId,
      bytes: published.storedBytes,
    });
    t.ok((await content(db, grain!)).equals(bytes), name);
    t.ok(gunzipSync(await stored(db, grain!)).equals(bytes), "stored is gzip, without the armour");
    const now = await requireSlice(db, target.name);
    t.match(now, { count: 1, bytes: published.storedBytes, hash: published.hash });
    t.not(now.hash, emptyHash);
    t.ok(now.contentDate);
    t.equal((await db.session((s) => computeContent(s, target.key, target.contentKey))).hash, now.hash);
    const sha1 = createHash("sha1")
      .update(Buffer.from(grain!.id.replaceAll("-", ""), "hex"))
      .digest("hex");
    t.equal(await referenceHash(db, now), sha1, "the Go reference's hash, for REST");
  }
});

t.test("the same file again publishes nothing, and its bytes under another name are another file", async (t) => {
  const { db, slice } = await openTestDatabase(t);
  const directory = await scratch(t);
  const target = await slice("same");
  for (const name of ["one.xml", "two.xml"]) await writeFile(join(directory, name), "<ACES/>");
  const first = await publishFile(db, target, join(directory, "one.xml"), noLimit);
  const before = await requireSlice(db, "same");
  const again = await publishFile(db, target, join(directory, "one.xml"), noLimit);
  t.match(again, {
    changed: false,
    grainId: first.grainId,
    hash: first.hash,
    fileBytes: 7,
    storedBytes: first.storedBytes,
  });
  t.same((await requireSlice(db, "same")).contentDate, before.contentDate, "the content's date stays");
  t.match(await grainsOf(db, target), [{ source: "one.xml" }]);

  const renamed = await publishFile(db, target, join(directory, "two.xml"), noLimit);
  t.match(renamed, { changed: true, source: "two.xml", replaced: "one.xml", fileBytes: 7 });
  t.not(renamed.grainId, first.grainId, "a grain is immutable");
  t.not(renamed.hash, first.hash, "so partners get it");
  t.match(await grainsOf(db, target), [{ source: "two.xml" }]);
});

t.test("the same file is known by its hash, and found out once where that is not stored", async (t) => {
  const { db, slice } = await openTestDatabase(t);
  const target = await slice("known");
  const file = join(await scratch(t), "a.bin");
  const bytes = new Random(10).bytes(2 * chunkBytes);
  await writeFile(file, bytes);
  const sent: string[] = [];
  const watched = explained(db, (text) => sent.push(text));
  const publish = async () => {
    sent.length = 0;
    const { changed } = await publishFile(watched, target, file, noLimit);
    return { changed, read: sent.filter((text) => /^\/\* (piece|whole) \*\//.test(text)).length };
  };
  t.same(await publish(), { changed: true, read: 0 });
  t.same(await publish(), { changed: false, read: 0 });
  await db.run("UPDATE slices SET file_digest = NULL, file_sha256 = NULL");
  t.same(await publish(), { changed: false, read: 3 }, "as by an older program");
  t.same(await publish(), { changed: false, read: 0 });

  // The grain is replaced by another one with its id.
  const [grain] = await grainsOf(db, target);
  const add = { ...grain!, grain_key: "level-1", encoding: "b64" as const, payload: btoa("<ACES/>") };
  await applyBatch(db, target, [{ delete: grain!.id }], noLimit);
  await applyBatch(db, target, [{ add }], noLimit);
  t.same(await publish(), { changed: true, read: 1 }, "what was known is of the other");
  await appendFile(file, "x");
  t.same(await publish(), { changed: true, read: 0 });
});

t.test("a file that changes while it is read is refused", async (t) => {
  const { db, slice } = await openTestDatabase(t);
  const target = await slice("changing");
  const file = join(await scratch(t), "a.bin");
  await writeFile(file, new Random(11).bytes(100_000));
  const disk = new FakeDisk();
  const changing: Database = {
    ...db,
    disk: Object.assign(disk, {
      watched: (payload: AsyncIterable<Buffer>) => {
        appendFileSync(file, "x");
        return payload;
      },
    }),
  };
  await t.rejects(publishFile(changing, target, file, noLimit), {
    code: "conflict",
    message: /changed while it was read/,
  });
  t.match(await requireSlice(db, "changing"), { count: 0, hash: emptyHash });
  t.match(await publishFile(db, target, file, noLimit), { changed: true });
});

t.test("a file that no partner would unfold is stored as it is", async (t) => {
  const { db, slice } = await openTestDatabase(t);
  const directory = await scratch(t);
  const target = await slice("unfolding");
  await writeFile(join(directory, "zeros.bin"), Buffer.alloc(3_000_000));
  const zeros = { changed: true, fileBytes: 3_000_000, storedBytes: 3_000_000 };
  t.match(await publishFile(db, target, join(directory, "zeros.bin"), noLimit), zeros);
  t.match(await grainsOf(db, target), [{ encoding: "b64", bytes: 3_000_000 }]);
  t.match(await publishFile(db, target, join(directory, "zeros.bin"), noLimit), { changed: false });
  await writeFile(join(directory, "small.bin"), Buffer.alloc(1_000_000));
  t.match(
    await publishFile(db, target, join(directory, "small.bin"), noLimit),
    { changed: true },
    "a megabyte is no harm",
  );
});

t.test("another file takes the place of the previous one", async (t) => {
  const { db, slice } = await openTestDatabase(t);
  const directory = await scratch(t);
  const target = await slice("replaced");
  await writeFile(join(directory, "large.bin"), new Random(6).bytes(2 * chunkBytes));
  await writeFile(join(directory, "small.xml"), "<ACES/>");
  const first = await publishFile(db, target, join(directory, "large.bin"), noLimit);
  const second = await publishFile(db, target, join(directory, "small.xml"), noLimit);
  t.equal(second.changed, true);
  t.not(second.grainId, first.grainId, "grains are immutable: a new one");
  t.not(second.hash, first.hash);
  t.match(await grainsOf(db, target), [{ id: second.grainId, source: "small.xml" }]);
  t.equal((await db.one<{ n: number }>("SELECT count(*) AS n FROM grain_chunks"))!.n, 0, "its chunks are gone too");
  t.match(await requireSlice(db, "replaced"), { count: 1, bytes: second.storedBytes });
});

t.test("of two publishers at once one wins and the other hears of it", async (t) => {
  const { db, slice } = await openTestDatabase(t);
  const directory = await scratch(t);
  const target = await slice("contended");
  await writeFile(join(directory, "a.bin"), new Random(7).bytes(4 * chunkBytes));
  let release = () => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  let holder: Promise<unknown> | undefined;
  await new Promise<void>((taken) => {
    holder = changeSlice(db, target, () => {
      taken();
      return held;
    });
  });
  await t.rejects(publishFile(db, target, join(directory, "a.bin"), noLimit), {
    code: "conflict",
    message: /"contended" is being changed by somebody else/,
  });
  const other = await slice("free");
  t.match(
    await publishFile(db, other, join(directory, "a.bin"), noLimit),
    { changed: true },
    "another slice is not held up",
  );
  release();
  await holder;
  const results = await Promise.allSettled(
    [1, 2].map(() => publishFile(db, target, join(directory, "a.bin"), noLimit)),
  );
  const won = results.filter((result) => result.status === "fulfilled" && result.value.changed);
  t.equal(won.length, 1, "two at once publish once");
  t.equal((await grainsOf(db, target)).length, 1);
});

t.test("a slice with level-2 grains is refused", async (t) => {
  const { db, slice } = await openTestDatabase(t);
  const file = join(await scratch(t), "a.xml");
  await writeFile(file, "<ACES/>");
  for (const keys of [["AQ1007"], ["level-1", "AQ1007"]]) {
    const target = await slice(`level-2 ${keys.length}`);
    const adds = keys.map((grain_key) => ({ add: { grain_key, source: "", encoding: "raw" as const, payload: "x" } }));
    const { content: before } = await applyBatch(db, target, adds, noLimit);
    await t.rejects(publishFile(db, target, file, noLimit), { code: "conflict", message: /level-2 grains/ });
    t.equal((await requireSlice(db, target.name)).hash, before.hash, "nothing was changed");
  }
});

t.test("a level-1 grain that is no gzip is compared and replaced as well", async (t) => {
  const { db, slice } = await openTestDatabase(t);
  const file = join(await scratch(t), "a.xml");
  await writeFile(file, "<ACES/>");
  const target = await slice("raw level 1");
  const add = { grain_key: "level-1", source: "a.xml", encoding: "b64" as const, payload: btoa("<ACES/>") };
  await applyBatch(db, target, [{ add }], noLimit);
  t.match(await publishFile(db, target, file, noLimit), { changed: false });
  await appendFile(file, "<!-- -->");
  t.match(await publishFile(db, target, file, noLimit), { changed: true });
});

t.test("what is no file, or too large, or badly named is refused and changes nothing", async (t) => {
  const { db, slice } = await openTestDatabase(t);
  const directory = await scratch(t);
  const target = await slice("refusals");
  await mkdir(join(directory, "folder"));
  await writeFile(join(directory, "large.bin"), new Random(8).bytes(300_000));
  await writeFile(join(directory, "n".repeat(255)), "x");
  await t.rejects(publishFile(db, target, join(directory, "missing.xml"), noLimit), {
    code: "usage",
    message: /ENOENT/,
  });
  await t.rejects(publishFile(db, target, join(directory, "folder"), noLimit), { code: "usage", message: /EISDIR/ });
  await t.rejects(publishFile(db, target, join(directory, "large.bin"), 100_000), {
    code: "limit",
    message: /100000 bytes/,
  });
  await writeFile(join(directory, "empty.xml"), "");
  await t.rejects(publishFile(db, target, join(directory, "empty.xml"), noLimit), {
    code: "usage",
    message: /is empty/,
  });
  t.match(await requireSlice(db, "refusals"), { count: 0, hash: emptyHash });
  t.match(
    await publishFile(db, target, join(directory, "n".repeat(255)), noLimit),
    { changed: true },
    "255 bytes are a name",
  );
});

t.test("a grain that says gzip and is not is found out when it is read", async (t) => {
  const { db, slice } = await openTestDatabase(t);
  const file = join(await scratch(t), "a.xml");
  await writeFile(file, new Random(9).bytes(2 * chunkBytes));
  const target = await slice("damaged");
  await publishFile(db, target, file, noLimit);
  await db.run("UPDATE grain_chunks SET data = overlay(data placing '\\x00000000'::bytea from 1000) WHERE seq = 1");
  const [grain] = await grainsOf(db, target);
  await t.rejects(content(db, grain!), {
    code: "verification",
    message: /is not gzip, although its encoding \(z64\) says so/,
  });
  t.match(
    await publishFile(db, target, file, noLimit),
    { changed: true },
    "and is mended by publishing the file again",
  );
});
