import { createHash } from "node:crypto";
import t from "tap";
import { inChunks } from "../../../src/slices/payloads/chunks.ts";
import { chunkBytes } from "../../../src/slices/rules/slice.ts";
import { Random } from "../../harness/random.ts";
import { pieces, sha256 } from "./contract.ts";

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
