/** PROTOCOL.md is true: every example parses, every vector is what the program computes. */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import t from "tap";
import { uuidBytes } from "../../../src/ids.ts";
import { atOnce } from "../../../src/pieces.ts";
import { addIds } from "../../../src/slices/cells.ts";
import { listEntryBytes, type Metadata, sliceHash, sortMetadata, xxh64 } from "../../../src/slices/rules/hash.ts";
import { Cells, cellBytes } from "../../../src/slices/rules/sketch.ts";
import { chunkBytes } from "../../../src/slices/rules/slice.ts";
import { Tally } from "../../../src/slices/rules/tally.ts";
import { peel } from "../../../src/sync/protocol/coded-symbols.ts";
import {
  decodeFrame,
  encodeFrame,
  frameTypes,
  headerBytes,
  maxFrameBytes,
  readRecords,
} from "../../../src/sync/protocol/frames.ts";
import {
  protocolVersion,
  readPrimaryMessage,
  readSecondaryMessage,
  refusals,
  subprotocol,
} from "../../../src/sync/protocol/messages.ts";
import { cellsOf, sumOf } from "../../harness/recount.ts";
import { slowXxh64 } from "../../harness/slow-xxh64.ts";
import { said } from "./memory-pair.ts";

const parsePrimaryMessage = (...said: Parameters<typeof readPrimaryMessage>) => atOnce(readPrimaryMessage(...said));
const parseSecondaryMessage = (...said: Parameters<typeof readSecondaryMessage>) =>
  atOnce(readSecondaryMessage(...said));

// From dist/test/sync/ and from test/sync/.
const text = [new URL("../../../../PROTOCOL.md", import.meta.url), new URL("../../../PROTOCOL.md", import.meta.url)]
  .map((url) => {
    try {
      return readFileSync(url, "utf8");
    } catch {
      return "";
    }
  })
  .join("");

const blocks = (kind: string) =>
  [...text.matchAll(new RegExp(`^\`\`\`${kind}\n([\\s\\S]*?)^\`\`\``, "gm"))].map((match) => match[1]!);

t.test("every message of the page parses, and every message of the program is on the page", async (t) => {
  const primary = blocks("json primary").map((json) => parsePrimaryMessage(said(json)));
  const secondary = blocks("json secondary").map((json) => parseSecondaryMessage(said(json)));
  t.same([...new Set(primary.map((message) => message.type))].sort(), [
    "begin",
    "compared",
    "confirmed",
    "content",
    "end",
    "queued",
    "recounted",
    "refused",
  ]);
  t.same([...new Set(secondary.map((message) => message.type))].sort(), [
    "bye",
    "cells",
    "compare",
    "confirm",
    "fetch",
    "reconcile",
    "recount",
  ]);
  for (const [i, message] of primary.entries())
    t.same(JSON.parse(blocks("json primary")[i]!), message, `${message.type} has no member that is not read`);
  for (const [i, message] of secondary.entries()) t.same(JSON.parse(blocks("json secondary")[i]!), message);
  for (const reason of refusals) t.ok(text.includes(`\`${reason}\``), reason);
  t.ok(text.includes(`| ${protocolVersion} | ${subprotocol} |`));
  t.ok(text.includes(`protocol, version ${protocolVersion}`));
  t.ok(text.includes(maxFrameBytes.toLocaleString("en-US")));
  for (const [name, number] of Object.entries(frameTypes)) t.match(text, new RegExp(`${number} ${name}`));
  t.ok(text.includes(`(${cellBytes} \`end\` <= ${listEntryBytes} \`count\`)`));
  t.ok(text.includes(`**cells**: entries of ${cellBytes} bytes`));
  t.ok(text.includes(`**list**: entries of ${listEntryBytes} bytes`));
});

t.test("the frame of the page", async (t) => {
  const bytes = Buffer.from(blocks("hex grains")[0]!.replace(/\s/g, ""), "hex");
  const frame = decodeFrame(bytes, ["grains"], 0);
  t.equal(bytes.length, headerBytes + frame.body.length);
  const [record] = readRecords(frame);
  t.match(record, { payloadBytes: 5, chunked: false, start: 0, end: frame.body.length });
  t.ok(encodeFrame(frame).equals(bytes));
});

const u32 = (n: number) => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(n);
  return bytes;
};

const u64 = (n: number) => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(n));
  return bytes;
};
const hexOf = (number: bigint) => number.toString(16).padStart(16, "0");

/** The digest as the page says it, independent of the program's SQL. */
function digest(id: Buffer, key: string, source: string, encoding: string, payload: Buffer): Buffer {
  const hash = createHash("sha256").update(id);
  for (const part of [key, source, encoding]) hash.update(u32(Buffer.byteLength(part))).update(part);
  hash.update(u64(payload.length));
  if (payload.length <= chunkBytes) hash.update(payload);
  else
    for (let at = 0; at < payload.length; at += chunkBytes)
      hash.update(
        createHash("sha256")
          .update(payload.subarray(at, at + chunkBytes))
          .digest(),
      );
  return hash.digest();
}

/** The hash as the page says it. */
function hashOf(grains: readonly { digest: Buffer }[], metadata: Metadata): string {
  const texts = metadata.flat().flatMap((part) => [u32(Buffer.byteLength(part)), Buffer.from(part)]);
  return hexOf(slowXxh64(Buffer.concat([Buffer.from(sumOf(grains), "hex"), u64(grains.length), ...texts])));
}

const ids = ["00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000002"] as const;
const first = {
  id: uuidBytes(ids[0]),
  digest: digest(uuidBytes(ids[0]), "k", "s", "raw", Buffer.from("hello")),
};
const second = {
  id: uuidBytes(ids[1]),
  digest: digest(uuidBytes(ids[1]), "level-1", "f.bin", "b64", Buffer.alloc(chunkBytes + 1, 7)),
};

t.test("digests and list entries", async (t) => {
  t.ok(text.includes(`| 1 | ${ids[0]} | \`k\` | \`s\` | raw | \`hello\` |`));
  t.ok(text.includes(`| 2 | ${ids[1]} | \`level-1\` | \`f.bin\` | b64 | 1,048,577 bytes of 07 |`));
  const entries = blocks("hex list")[0]!.trim().split("\n");
  t.equal(entries.length, 2);
  for (const [i, grain] of [first, second].entries()) {
    t.ok(text.includes(`| ${i + 1} | \`${grain.digest.toString("hex")}\` |`), grain.digest.toString("hex"));
    const check = slowXxh64(grain.digest);
    t.equal(entries[i], grain.id.toString("hex") + hexOf(check));
    t.equal(xxh64(grain.digest), check, "the program's is the same");
  }
});

t.test("sum and hash", async (t) => {
  const tally = new Tally();
  const marks = ({ id, digest }: typeof first) => Buffer.concat([id, digest, u64(5)]);
  /** Whether the page has this hash, which is what the rule and the program say. */
  const isOn = (slice: string, grains: (typeof first)[], metadata: Metadata = []) => {
    const hash = hashOf(grains, metadata);
    t.ok(text.includes(`| ${slice} | \`${hash}\` |`), `${slice}: ${hash}`);
    t.equal(sliceHash(tally.figures(), sortMetadata(metadata)), hash, "the program's is the same");
    t.equal(tally.figures().sum.toString("hex"), sumOf(grains));
  };
  isOn("nothing", []);
  tally.add(marks(first));
  isOn("grain 1 above", [first]);
  t.equal(sumOf([first]), first.digest.toString("hex"), "the sum of one grain is its digest");
  tally.add(marks(second));
  isOn("grain 2 added", [first, second]);
  t.ok(text.includes(`The sum of both: \`${sumOf([first, second])}\``), sumOf([first, second]));
  tally.remove(marks(first));
  isOn("grain 1 removed", [second]);
  tally.add(marks(first));
  tally.remove(marks(second));
  isOn("grain 1 added again, grain 2 removed", [first]);
  isOn("the same, with metadata a = bc", [first], [["a", "bc"]]);
  isOn("the same, with metadata ab = c", [first], [["ab", "c"]]);
});

t.test("coded symbols", async (t) => {
  const repeated = (...bytes: number[]) => bytes.map((byte) => Buffer.alloc(16, byte));
  const still = Buffer.from("01000000000000002e6b353c4e4bc645", "hex");
  t.ok(text.includes(`{${still.toString("hex")}}, whose XXH64 is 0, so that it is in cells 0, 1, 3 and 5`));
  t.equal(slowXxh64(still), 0n);
  t.ok(text.includes("four cells of the set {11, 22, 33}"));
  t.ok(text.includes("the secondary {22, 44}"));
  const sets = [repeated(0x11, 0x22, 0x33), [still], repeated(0x22, 0x44)];
  const shown = blocks("hex cells").map((hex) => Buffer.from(hex.replace(/\s/g, ""), "hex"));
  t.same(
    shown.map((bytes) => bytes.length / cellBytes),
    [4, 6, 4],
  );
  for (const [i, set] of sets.entries()) {
    const bytes = shown[i]!;
    const cells = new Cells(bytes.length / cellBytes);
    atOnce(addIds(cells, Buffer.concat(set)));
    t.equal(bytes.toString("hex"), cellsOf(set, cells.length).toString("hex"));
    t.equal(bytes.toString("hex"), cells.encode().toString("hex"), "the program's are the same");
  }
  const [remote, , local] = shown as [Buffer, Buffer, Buffer];
  const found = atOnce(peel(Cells.of(remote), Cells.of(local)));
  t.ok(text.includes("11 and 33 are only at the primary, 44 is only at the secondary."));
  t.same(found, {
    onlyRemote: Buffer.concat(repeated(0x11, 0x33)),
    onlyLocal: Buffer.concat(repeated(0x44)),
  });
});
