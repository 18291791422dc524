import { createHash } from "node:crypto";
import fc from "fast-check";
import t from "tap";
import {
  emptyHash,
  grainSymbol,
  hashUnitBytes,
  type Metadata,
  SliceHasher,
  sortMetadata,
} from "../../../src/slices/rules/hash.ts";
import { slowXxh64 } from "../../harness/slow-xxh64.ts";

interface Grain {
  id: Buffer;
  digest: Buffer;
}

/** The rule of PROTOCOL.md, "Hash of a slice", written down a second time. */
function expected(grains: Grain[], metadata: Metadata): { hash: string; contentHash: string; count: number } {
  const sorted = [...grains].sort((a, b) => Buffer.compare(a.id, b.id));
  const pairs = [...metadata].sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  const prefixed = (bytes: Buffer) => {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(bytes.length);
    return Buffer.concat([length, bytes]);
  };
  const texts = pairs.flat().map((text) => Buffer.from(text));
  const parts = [...sorted.flatMap(({ id, digest }) => [id, digest]), ...texts];
  // The Go reference: SHA-1 over raw ids, then keys and values, with nothing in between.
  const sha1 = createHash("sha1");
  for (const part of [...sorted.map((grain) => grain.id), ...texts]) sha1.update(part);
  return {
    hash: slowXxh64(Buffer.concat(parts.map(prefixed)))
      .toString(16)
      .padStart(16, "0"),
    contentHash: parts.length === 0 ? "" : sha1.digest("hex"),
    count: grains.length,
  };
}

const units = (grains: Grain[]) =>
  Buffer.concat(
    grains.flatMap(({ id, digest }) => [Buffer.from([0, 0, 0, 16]), id, Buffer.from([0, 0, 0, 32]), digest]),
  );

function actual(grains: Grain[], metadata: Metadata, piece = 1) {
  const hasher = new SliceHasher();
  const sorted = [...grains].sort((a, b) => Buffer.compare(a.id, b.id));
  for (let at = 0; at < sorted.length; at += piece) hasher.add(units(sorted.slice(at, at + piece)));
  return hasher.finish(sortMetadata(metadata));
}

const buffer = (length: number) =>
  fc.uint8Array({ minLength: length, maxLength: length }).map((bytes) => Buffer.from(bytes));
const anyGrains = fc.uniqueArray(fc.record({ id: buffer(16), digest: buffer(32) }), {
  maxLength: 12,
  selector: (grain) => grain.id.toString("hex"),
});
const anyMetadata = fc.uniqueArray(
  fc.tuple(fc.string({ unit: "grapheme", maxLength: 9 }), fc.string({ maxLength: 9 })),
  {
    maxLength: 5,
    selector: ([key]) => key,
  },
);

t.test("the test's own XXH64 is right", async (t) => {
  // Vectors of the xxHash project.
  t.equal(slowXxh64(Buffer.from("")), 0xef46db3751d8e999n);
  t.equal(slowXxh64(Buffer.from("a")), 0xd24ec4f1a98c6e5bn);
  t.equal(slowXxh64(Buffer.from("abc")), 0x44bc2cf5ad770999n);
  t.equal(slowXxh64(Buffer.from("Nobody inspects the spammish repetition")), 0xfbcea83c8a378bf1n);
});

t.test("both hashes are what the rule says, however the grains arrive", async (t) => {
  fc.assert(
    fc.property(anyGrains, anyMetadata, fc.integer({ min: 1, max: 12 }), (grains, metadata, piece) => {
      const want = expected(grains, metadata);
      const got = actual(grains, metadata, piece);
      return got.hash === want.hash && got.contentHash === want.contentHash && got.count === want.count;
    }),
  );
  t.pass();
});

t.test("vectors", async (t) => {
  const id = (n: number) => Buffer.from(`${String(n).repeat(8)}${"0".repeat(24)}`, "hex");
  const grain = (n: number) => ({ id: id(n), digest: createHash("sha256").update(String(n)).digest() });
  const empty = actual([], []);
  t.same(empty, { hash: "ef46db3751d8e999", contentHash: "", count: 0 }, "an empty slice");
  t.equal(emptyHash, empty.hash);
  t.equal(
    actual([grain(1)], []).contentHash,
    createHash("sha1").update(id(1)).digest("hex"),
    "SHA-1 over the raw 16 bytes of the id",
  );
  t.same(actual([grain(3), grain(1), grain(2)], []), actual([grain(1), grain(2), grain(3)], []));
  t.same(
    actual(
      [grain(1), grain(2)],
      [
        ["a", "1"],
        ["b", "2"],
      ],
    ),
    expected(
      [grain(1), grain(2)],
      [
        ["b", "2"],
        ["a", "1"],
      ],
    ),
  );
});

t.test("what moves between key and value moves the hash, which the reference's does not notice", async (t) => {
  const one = actual([], [["a", "bc"]]);
  const other = actual([], [["ab", "c"]]);
  t.not(one.hash, other.hash);
  t.equal(one.contentHash, other.contentHash);
  t.not(actual([], [["", ""]]).hash, emptyHash, "an empty pair is something");
  const id = Buffer.alloc(16, 7);
  const digest = createHash("sha256").update("x").digest();
  const changed = Buffer.from(digest);
  changed[31]! ^= 1;
  t.not(actual([{ id, digest }], []).hash, actual([{ id, digest: changed }], []).hash, "so does a changed digest");
});

t.test("metadata is ordered by the bytes of its keys", async (t) => {
  const keys = ["b", "a", "B", "ä", "z", "\u{1F600}", "\uFFFD", ""];
  const sorted = sortMetadata(keys.map((key) => [key, "v"] as const)).map(([key]) => key);
  // UTF-16 would put U+1F600 before U+FFFD.
  t.same(sorted, ["", "B", "a", "b", "z", "ä", "\uFFFD", "\u{1F600}"]);
});

t.test("ids that do not ascend are refused", async (t) => {
  const grains = [1, 2, 3].map((n) => ({ id: Buffer.alloc(16, n), digest: Buffer.alloc(32, n) }));
  const [first, second, third] = grains as [Grain, Grain, Grain];
  const add = (...batches: Grain[][]) => {
    const hasher = new SliceHasher();
    for (const batch of batches) hasher.add(units(batch));
  };
  t.doesNotThrow(() => add([first], [], [second, third]));
  t.throws(() => add([second], [first]), RangeError, "from one batch to the next");
  t.throws(() => add([first], [first]), RangeError, "the same id twice");
  t.throws(() => add([third, first, second]), RangeError, "within a batch");
  t.throws(() => add([first, second, second]), RangeError, "twice within a batch");
});

t.test("the symbol of a grain", async (t) => {
  fc.assert(fc.property(buffer(48), (bytes) => grainSymbol(bytes) === slowXxh64(bytes)));
  t.equal(hashUnitBytes, 56);
});
