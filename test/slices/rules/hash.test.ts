/** The hash of a slice, and that of the reference, are what their rules say of any grains and metadata. */
import { createHash } from "node:crypto";
import fc from "fast-check";
import t from "tap";
import {
  digestBytes,
  emptyHash,
  idBytes,
  listEntryBytes,
  type Metadata,
  ReferenceHasher,
  sliceHash,
  sortMetadata,
  sumBytes,
  xxh64,
} from "../../../src/slices/rules/hash.ts";
import { Tally } from "../../../src/slices/rules/tally.ts";
import { slowXxh64 } from "../../harness/slow-xxh64.ts";

interface Grain {
  id: Buffer;
  digest: Buffer;
}

const u64 = (number: bigint) => Buffer.from(number.toString(16).padStart(16, "0"), "hex");
const prefixed = (bytes: Buffer) => {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
};

/** The texts of metadata as the rule orders them. */
const textsOf = (metadata: Metadata) =>
  [...metadata]
    .sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
    .flat()
    .map((text) => Buffer.from(text));

/** The rule of PROTOCOL.md, "Hash of a slice", written down a second time. */
function expectedHash(sum: bigint, count: bigint, metadata: Metadata): string {
  const number = BigInt.asUintN(256, sum).toString(16).padStart(64, "0");
  const parts = [Buffer.from(number, "hex"), u64(count), ...textsOf(metadata).map(prefixed)];
  return slowXxh64(Buffer.concat(parts)).toString(16).padStart(16, "0");
}

interface Said {
  hash: string;
  referenceHash: string;
  count: number;
}

function expected(grains: Grain[], metadata: Metadata): Said {
  const sum = grains.reduce((all, { digest }) => all + BigInt(`0x${digest.toString("hex")}`), 0n);
  // The Go reference: SHA-1 over raw ids, then keys and values, with nothing in between.
  const ids = grains.map(({ id }) => id).sort(Buffer.compare);
  const parts = [...ids, ...textsOf(metadata)];
  const sha1 = createHash("sha1");
  for (const part of parts) sha1.update(part);
  return {
    hash: expectedHash(sum, BigInt(grains.length), metadata),
    referenceHash: parts.length === 0 ? "" : sha1.digest("hex"),
    count: grains.length,
  };
}

const marksOf = (grains: Grain[]) => Buffer.concat(grains.flatMap(({ id, digest }) => [id, digest, Buffer.alloc(8)]));

/** What the program says, told of the grains so many at once: for the reference in the order of their ids, else as they come. */
function actual(grains: Grain[], metadata: Metadata, piece = 1): Said {
  const tally = new Tally();
  const reference = new ReferenceHasher();
  const ids = grains.map(({ id }) => id).sort(Buffer.compare);
  for (let at = 0; at < grains.length; at += piece) {
    tally.add(marksOf(grains.slice(at, at + piece)));
    reference.add(Buffer.concat(ids.slice(at, at + piece)));
  }
  const sorted = sortMetadata(metadata);
  const figures = tally.figures();
  return { hash: sliceHash(figures, sorted), referenceHash: reference.finish(sorted), count: figures.count };
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
      return got.hash === want.hash && got.referenceHash === want.referenceHash && got.count === want.count;
    }),
  );
  t.pass();
});

t.test("any sum and any count make the hash that the rule says", async (t) => {
  const anyCount = fc.nat(Number.MAX_SAFE_INTEGER);
  fc.assert(
    fc.property(buffer(32), anyCount, anyMetadata, (sum, count, metadata) => {
      const want = expectedHash(BigInt(`0x${sum.toString("hex")}`), BigInt(count), metadata);
      return sliceHash({ sum, count }, sortMetadata(metadata)) === want;
    }),
  );
  t.pass();
});

t.test("vectors", async (t) => {
  const id = (n: number) => Buffer.from(`${String(n).repeat(8)}${"0".repeat(24)}`, "hex");
  const grain = (n: number) => ({ id: id(n), digest: createHash("sha256").update(String(n)).digest() });
  const empty = actual([], []);
  t.same(empty, { hash: emptyHash, referenceHash: "", count: 0 }, "an empty slice");
  t.equal(emptyHash, slowXxh64(Buffer.alloc(40)).toString(16).padStart(16, "0"), "of 40 bytes of 00");
  t.equal(
    actual([grain(1)], []).referenceHash,
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
  t.equal(one.referenceHash, other.referenceHash);
  t.not(actual([], [["", ""]]).hash, emptyHash, "an empty pair is something");
  const id = Buffer.alloc(16, 7);
  const digest = createHash("sha256").update("x").digest();
  const changed = Buffer.from(digest);
  changed[31]! ^= 1;
  t.not(actual([{ id, digest }], []).hash, actual([{ id, digest: changed }], []).hash, "so does a changed digest");
  const nothing = Buffer.alloc(sumBytes);
  t.not(sliceHash({ sum: nothing, count: 1 }, []), emptyHash, "so does a grain whose digest is zero");
  t.not(sliceHash({ sum: nothing, count: 2 ** 32 }, []), emptyHash, "so do 2^32 of them");
});

t.test("the reference's hash of something that is empty", async (t) => {
  const hasher = new ReferenceHasher();
  hasher.add(Buffer.alloc(0));
  t.equal(hasher.finish([]), "", "no ids in a piece are no grains");
  t.equal(
    new ReferenceHasher().finish([["", ""]]),
    createHash("sha1").digest("hex"),
    "an empty pair is something, and adds nothing",
  );
});

t.test("metadata is ordered by the bytes of its keys", async (t) => {
  const keys = ["b", "a", "B", "ä", "z", "\u{1F600}", "\uFFFD", ""];
  const sorted = sortMetadata(keys.map((key) => [key, "v"] as const)).map(([key]) => key);
  // UTF-16 would put U+1F600 before U+FFFD.
  t.same(sorted, ["", "B", "a", "b", "z", "ä", "\uFFFD", "\u{1F600}"]);
});

t.test("XXH64 of an id and of a digest", async (t) => {
  for (const length of [idBytes, digestBytes])
    fc.assert(fc.property(buffer(length), (bytes) => xxh64(bytes) === slowXxh64(bytes)));
  t.same([idBytes, digestBytes, listEntryBytes, sumBytes], [16, 32, 24, 32]);
});
