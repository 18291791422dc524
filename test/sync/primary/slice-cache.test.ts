import { monitorEventLoopDelay } from "node:perf_hooks";
import { Readable } from "node:stream";
import t from "tap";
import type { Database, Session } from "../../../src/database/database.ts";
import { everything } from "../../../src/database/scope.ts";
import { grainSymbol } from "../../../src/slices/rules/hash.ts";
import { copyHeader, copyTrailer } from "../../../src/slices/rules/tuples.ts";
import { SliceCache } from "../../../src/sync/primary/slice-cache.ts";
import { encodeList } from "../../../src/sync/protocol/coded-symbols.ts";
import { atOnce } from "../../../src/sync/protocol/pieces.ts";
import { Random } from "../../harness/random.ts";
import { encodeTuple } from "../../harness/tuples.ts";

/** A database with one slice of `count` grains, that counts how often their list is read; and the list. */
function sliceOf(count: number) {
  const random = new Random(1);
  const units = Array.from({ length: count }, (_, i) => {
    const id = Buffer.alloc(16);
    id.writeUInt32BE(i);
    return { id, digest: random.bytes(32) };
  });
  const rows = Buffer.concat([copyHeader, ...units.map(({ id, digest }) => encodeTuple([id, digest])), copyTrailer]);
  const list = Buffer.concat(
    units.flatMap(({ id, digest }) => {
      const symbol = Buffer.alloc(8);
      symbol.writeBigUInt64BE(grainSymbol(Buffer.concat([id, digest])));
      return [id, symbol];
    }),
  );
  const found = { reads: 0 };
  const session = {
    query: async () => [{ key: 1, content: 1, name: "parts", id: "x", allowSync: true, hash: "h", count, bytes: 0 }],
    copyOut: () => {
      found.reads++;
      return Readable.from([rows]);
    },
  } as unknown as Session;
  const db = { transaction: (work: (tx: Session) => unknown) => work(session) } as unknown as Database;
  return { db, list, found };
}

t.test("many cells are made of the list that is kept, and others are served meanwhile", async (t) => {
  const { db, list, found } = sliceOf(200_000);
  const cache = new SliceCache(2 ** 30);
  await cache.readCells(db, everything, "x", 128);
  t.equal(found.reads, 1);
  let turns = 0;
  let running = true;
  const others = (async () => {
    for (; running; turns++) await new Promise((resolve) => setImmediate(resolve));
  })();
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  const { data } = await cache.readCells(db, everything, "x", 100_000);
  delay.disable();
  running = false;
  await others;
  t.same(data.encode(0, 100_000), atOnce(encodeList(list, 100_000)).encode(0, 100_000));
  t.equal(found.reads, 1, "the database was not asked again");
  t.ok(turns >= 20, `${turns} turns for others`);
  t.comment(`at most ${Math.round(delay.max / 1e6)} ms for one`);
});

t.test("a list that is too long to be kept is read again", async (t) => {
  const { db, list, found } = sliceOf(6000);
  const cache = new SliceCache(0);
  const { data } = await cache.readCells(db, everything, "x", 5000);
  t.same(data.encode(0, 5000), atOnce(encodeList(list, 5000)).encode(0, 5000));
  t.equal(found.reads, 2);
});
