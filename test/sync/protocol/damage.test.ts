/** What is damaged at the primary is a failure of its own, of one slice: no partner is blamed, and the session goes on. */
import t from "tap";
import type { Records } from "../../../src/slices/rules/records.ts";
import { chunkBytes } from "../../../src/slices/rules/slice.ts";
import { drive } from "../../../src/sync/protocol/effects.ts";
import type { PrimaryMessage } from "../../../src/sync/protocol/messages.ts";
import type { PrimaryPort, SliceView } from "../../../src/sync/protocol/primary-port.ts";
import { primarySession } from "../../../src/sync/protocol/primary-session.ts";
import { MemoryPair, MemorySlice, record, said } from "./memory-pair.ts";

const id = (n: number) => `00000000-0000-4000-9000-${n.toString(16).padStart(12, "0")}`;
const grain = (n: number, text = `payload ${n}`, key = `key ${n}`) => ({ id: id(n), key, payload: Buffer.from(text) });

t.test("a damaged grain fails its slice alone", async (t) => {
  const damaged = new MemorySlice(id(1), [grain(11), grain(12, "x", ""), grain(13)]);
  const sound = new MemorySlice(id(2), [grain(21)]);
  const empty = [new MemorySlice(id(1)), new MemorySlice(id(2))];
  const p = new MemoryPair(
    new Map([damaged, sound].map((slice) => [slice.id, slice])),
    new Map(empty.map((slice) => [slice.id, slice])),
  );
  await p.sync();
  t.match(p.results, [{ outcome: "failed", error: { code: "unavailable" } }, { outcome: "updated" }]);
  t.match(p.failures, [/^\S+1: a grain of slice \S+1 is stored wrongly: a grain's key is not 1 to 1,024 bytes/]);
  t.equal(p.secondary.get(id(1))!.grains.size, 0);
  t.equal(p.secondary.get(id(2))!.grains.size, 1);
});

t.test(
  "whatever is damaged, it is told to our own operator, and the partner hears that the slice failed",
  async (t) => {
    const hash = "0".repeat(16);
    const view: SliceView = { id: id(1), allowSync: true, hash, count: 2, bytes: 3 * chunkBytes };
    const records = (...list: Buffer[]): Records => {
      let end = 0;
      return { bytes: Buffer.concat(list), ends: list.map((bytes) => (end += bytes.length)) };
    };
    const first = record(grain(11));
    const cutOff = Buffer.from(first);
    cutOff.writeUInt16BE(5, 0);
    const large = record({ ...grain(12), payload: Buffer.alloc(2 * chunkBytes) });
    const fetch = { type: "fetch", id: id(1), hash, by: "all", count: 2, after: null };
    const list = { type: "reconcile", id: id(1), hash, want: "list" };
    const cases: [string, object, RegExp, { grains?: Records; chunk?: Buffer; list?: Buffer }][] = [
      ["a record that is none", fetch, /is stored wrongly: .*six fields/, { grains: records(cutOff, large) }],
      [
        "the same where a transfer is resumed",
        { ...fetch, after: id(11), chunk: 1 },
        /is stored wrongly: .*six fields/,
        { grains: records(cutOff) },
      ],
      ["a chunk that is missing", fetch, /chunk 0 of .* is not stored/, { grains: records(first, large) }],
      [
        "a chunk that is short",
        fetch,
        /chunk 0 of .* is stored with 7 of 1048576 bytes/,
        { grains: records(first, large), chunk: Buffer.alloc(7) },
      ],
      ["fewer grains than the slice says", fetch, /has 1 grains, and says 2/, { grains: records(first) }],
      [
        "more grains than the slice says",
        fetch,
        /has 3 grains, and says 2/,
        { grains: records(first, record(grain(12)), record(grain(13))) },
      ],
      ["a list that is short", list, /has 0 grains, and says 2/, {}],
      ["a list that is long", list, /has 3 grains, and says 2/, { list: Buffer.alloc(3 * 24) }],
    ];
    for (const [name, request, why, stored] of cases) {
      const incoming = [
        said({ type: "compare", run_id: id(9), test: true, program: "t", ids: [id(1)], hashes: [""], counts: [0] }),
        said(request),
        said({ type: "bye" }),
      ];
      const sent: PrimaryMessage[] = [];
      const failures: string[] = [];
      const unread = { ...stored };
      const port = {
        receive: async () => incoming.shift()!,
        send: async (message) => void sent.push(message),
        sendFrame: async () => {},
        breathe: async () => {},
        look: async () => [view],
        readMetadata: async () => ({ view, data: [] }),
        readList: async () => ({ view, data: stored.list ?? Buffer.alloc(0) }),
        readGrains: async () => {
          const data = unread.grains ?? records();
          delete unread.grains;
          return { view, data };
        },
        readChunk: async () => ({ view, data: stored.chunk ?? Buffer.alloc(0) }),
        failed: async (_id, error) => void failures.push(`${error.code}: ${error.message}`),
      } as Partial<PrimaryPort> as PrimaryPort;
      await drive(primarySession({ serverId: id(7), companyId: id(8), maxSlices: 10 }), port);
      t.match(failures, [/^storage: /], name);
      t.match(failures, [why], name);
      t.match(sent.at(-1), { type: "refused", id: id(1), reason: "failed" }, name);
    }
  },
);
