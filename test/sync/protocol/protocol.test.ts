/** PROTOCOL.md is true: every example parses, every vector is what the program computes. */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import t from "tap";
import { uuidBytes } from "../../../src/ids.ts";
import { grainSymbol, type Metadata, SliceHasher } from "../../../src/slices/rules/hash.ts";
import { chunkBytes } from "../../../src/slices/rules/slice.ts";
import { encodeList } from "../../../src/sync/protocol/coded-symbols.ts";
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
import { atOnce } from "../../../src/sync/protocol/pieces.ts";
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
    "refused",
  ]);
  t.same([...new Set(secondary.map((message) => message.type))].sort(), [
    "bye",
    "cells",
    "compare",
    "confirm",
    "fetch",
    "reconcile",
  ]);
  for (const [i, message] of primary.entries())
    t.same(JSON.parse(blocks("json primary")[i]!), message, `${message.type} has no member that is not read`);
  for (const [i, message] of secondary.entries()) t.same(JSON.parse(blocks("json secondary")[i]!), message);
  for (const reason of refusals) t.ok(text.includes(`\`${reason}\``), reason);
  t.ok(text.includes(`| ${protocolVersion} | ${subprotocol} |`));
  t.ok(text.includes(`protocol, version ${protocolVersion}`));
  t.ok(text.includes(maxFrameBytes.toLocaleString("en-US")));
  for (const [name, number] of Object.entries(frameTypes)) t.match(text, new RegExp(`${number} ${name}`));
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

/** The digest as the page says it, independent of the program's SQL. */
function digest(key: string, source: string, encoding: string, payload: Buffer): Buffer {
  const hash = createHash("sha256");
  for (const part of [key, source, encoding]) hash.update(u32(Buffer.byteLength(part))).update(part);
  const size = Buffer.alloc(8);
  size.writeBigUInt64BE(BigInt(payload.length));
  hash.update(size);
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

t.test("digest, symbol and hash", async (t) => {
  const one = digest("k", "s", "raw", Buffer.from("hello"));
  const large = digest("level-1", "f.bin", "b64", Buffer.alloc(chunkBytes + 1, 7));
  t.ok(text.includes(`\`hello\` | \`${one.toString("hex")}\``), one.toString("hex"));
  t.ok(text.includes(`1,048,577 bytes of 07 | \`${large.toString("hex")}\``), large.toString("hex"));
  const id = uuidBytes("00000000-0000-0000-0000-000000000001");
  const symbol = grainSymbol(Buffer.concat([id, one]))
    .toString(16)
    .padStart(16, "0");
  t.ok(text.includes(`the first digest above: \`${symbol}\``), symbol);
  const unit = Buffer.concat([u32(16), id, u32(32), one]);
  const hash = (units: Buffer, metadata: Metadata) => {
    const hasher = new SliceHasher();
    hasher.add(units);
    return hasher.finish(metadata).hash;
  };
  t.ok(text.includes(`| nothing | \`${hash(Buffer.alloc(0), [])}\``), hash(Buffer.alloc(0), []));
  t.ok(text.includes(`000000000001 | \`${hash(unit, [])}\``), hash(unit, []));
  t.ok(text.includes(`a = bc | \`${hash(unit, [["a", "bc"]])}\``), hash(unit, [["a", "bc"]]));
  t.ok(text.includes(`ab = c | \`${hash(unit, [["ab", "c"]])}\``), hash(unit, [["ab", "c"]]));
});

t.test("coded symbols", async (t) => {
  const cells = (...symbols: bigint[]) => {
    const list = Buffer.alloc(24 * symbols.length);
    for (const [i, symbol] of symbols.entries()) list.writeBigUInt64BE(symbol, i * 24 + 16);
    return atOnce(encodeList(list, 4)).encode(0, 4).toString("hex");
  };
  const first = cells(0x1111111111111111n, 0x2222222222222222n, 0x3333333333333333n);
  t.ok(text.includes(`3333333333333333}: \`${first}\``), first);
  const second = cells(0x123456789abcdef0n, 0x123456785bd1e995n);
  t.ok(text.includes(`123456785bd1e995}: \`${second}\``), second);
});
