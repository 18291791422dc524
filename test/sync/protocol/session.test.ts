import fc from "fast-check";
import t from "tap";
import { SandpiperError } from "../../../src/errors.ts";
import { uuidBytes } from "../../../src/ids.ts";
import { atOnce } from "../../../src/pieces.ts";
import { Cells, cellBytes } from "../../../src/slices/rules/sketch.ts";
import { chunkBytes } from "../../../src/slices/rules/slice.ts";
import type { Incoming } from "../../../src/sync/protocol/messages.ts";
import { heard, type MemoryGrain, MemoryPair, MemorySlice, said } from "./memory-pair.ts";

const sliceId = (n: number) => `00000000-0000-4000-9000-${n.toString(16).padStart(12, "0")}`;
const grain = (n: number, text = `payload ${n}`): MemoryGrain => ({
  id: `00000000-0000-4000-a000-${n.toString(16).padStart(12, "0")}`,
  key: `key ${n}`,
  payload: Buffer.from(text),
});
const grains = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => grain(from + i));
const slices = (...list: MemorySlice[]) => new Map(list.map((slice) => [slice.id, slice]));
const pair = (there: MemoryGrain[], here: MemoryGrain[]) =>
  new MemoryPair(slices(new MemorySlice(sliceId(1), there)), slices(new MemorySlice(sliceId(1), here)));
const same = (p: MemoryPair) =>
  [...p.secondary.keys()].every((id) => p.primary.get(id)!.hash() === p.secondary.get(id)!.hash());
const thrown = async (work: Promise<unknown>): Promise<SandpiperError> => {
  try {
    await work;
  } catch (error) {
    if (error instanceof SandpiperError) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
};
const messages = (log: Incoming[]) =>
  log.flatMap((item) => ("text" in item ? [heard(item).type as string] : ["frame"]));

t.test("a first copy, then nothing to do in one round trip", async (t) => {
  const p = pair(grains(0, 10), []);
  p.primary.get(sliceId(1))!.metadata = [["a", "b"]];
  await p.sync();
  t.ok(same(p));
  t.match(p.results, [{ outcome: "updated", added: 10, removed: 0 }]);
  t.match(p.confirms, [{ outcome: "updated", added: 10, count: 10, hash: p.primary.get(sliceId(1))!.hash() }]);
  t.same(p.outbox, [], "the confirmation was acknowledged");

  const again = new MemoryPair(p.primary, p.secondary);
  await again.sync();
  t.same(messages(again.toPrimary.log), ["compare", "bye"]);
  t.same(messages(again.toSecondary.log), ["begin", "compared"]);
  t.match(again.results, [{ outcome: "unchanged" }]);
});

t.test("any two sets become equal, and only the difference moves", async (t) => {
  const numbers = fc.uniqueArray(fc.integer({ min: 0, max: 60 }), { maxLength: 40 });
  const damaged = fc.array(fc.integer({ min: 0, max: 60 }), { maxLength: 5 });
  await fc.assert(
    fc.asyncProperty(numbers, numbers, damaged, async (there, here, bad) => {
      const p = pair(
        there.map((n) => grain(n)),
        here.map((n) => grain(n, bad.includes(n) ? "rotten" : undefined)),
      );
      await p.sync({ allowDrops: true });
      const missing = there.filter((n) => !here.includes(n) || bad.includes(n)).length;
      const extra = here.filter((n) => !there.includes(n) || bad.includes(n)).length;
      const [result] = p.results;
      if (!same(p)) throw new Error("not the same");
      if (result!.added !== missing || result!.removed !== extra)
        throw new Error(`moved ${result!.added}/${result!.removed}, due ${missing}/${extra}`);
    }),
    { numRuns: 300 },
  );
  t.pass("300 random pairs");
});

t.test("a large grain travels in chunks", async (t) => {
  for (const size of [chunkBytes, chunkBytes + 1, 3 * chunkBytes, 3 * chunkBytes + 5]) {
    const p = pair([grain(1), { ...grain(2), payload: Buffer.alloc(size, 7) }, grain(3)], [grain(1)]);
    await p.sync();
    t.ok(same(p), `${size} bytes`);
    for (const item of p.toSecondary.log)
      if ("binary" in item) t.ok(item.binary.length <= chunkBytes + 4096, "frames are bounded");
  }
});

t.test("locked, unavailable and failing slices do not stop the others", async (t) => {
  const p = new MemoryPair(
    slices(
      new MemorySlice(sliceId(1), grains(0, 3)),
      new MemorySlice(sliceId(2), grains(0, 3)),
      new MemorySlice(sliceId(3), grains(0, 3)),
    ),
    slices(
      new MemorySlice(sliceId(1)),
      new MemorySlice(sliceId(2)),
      new MemorySlice(sliceId(3)),
      new MemorySlice(sliceId(4)),
    ),
  );
  p.primary.get(sliceId(1))!.allowSync = false;
  p.primary.get(sliceId(2))!.permitted = false;
  await p.sync();
  t.same(
    p.results.map((result) => [result.slice.id, result.outcome, result.error?.exitCode]),
    [
      [sliceId(1), "deferred", 7],
      [sliceId(2), "denied", 6],
      [sliceId(3), "updated", undefined],
      [sliceId(4), "denied", 6],
    ],
  );
  const answers = p.toSecondary.log.flatMap((item) => ("text" in item ? [heard(item)] : []));
  const compared = answers.find((message) => message.type === "compared").slices;
  t.same(
    compared
      .filter((s: { state: string }) => s.state === "unavailable")
      .map(({ id: _id, ...rest }: { id: string }) => rest),
    [{ state: "unavailable" }, { state: "unavailable" }],
    "a foreign slice looks like one that does not exist",
  );
});

t.test("a slice that changes while it streams is begun again, and never mixed", async (t) => {
  const p = pair(grains(0, 9), []);
  p.onLook = (n) => {
    if (n === 4) p.primary.set(sliceId(1), new MemorySlice(sliceId(1), grains(4, 12)));
  };
  await p.sync();
  t.ok(same(p));
  t.match(p.results, [{ outcome: "updated" }]);
  t.ok(messages(p.toSecondary.log).includes("refused"));

  const restless = pair(grains(0, 9), []);
  let generation = 10;
  restless.onLook = () => {
    restless.primary.set(sliceId(1), new MemorySlice(sliceId(1), grains(generation, ++generation + 8)));
  };
  await restless.sync();
  t.match(restless.results, [{ outcome: "deferred", error: { code: "deferred" } }]);
  t.equal(restless.secondary.get(sliceId(1))!.grains.size, 0, "as before");
});

t.test("a right that is withdrawn ends the stream at once", async (t) => {
  const p = pair(grains(0, 30), []);
  let framesAfter = 0;
  let gone = false;
  p.onLook = (n) => {
    if (n === 8) {
      p.primary.get(sliceId(1))!.permitted = false;
      gone = true;
    }
  };
  p.toSecondary.tamper = (item) => {
    if (gone && "binary" in item) framesAfter++;
    return [item];
  };
  await p.sync();
  t.match(p.results, [{ outcome: "denied", error: { code: "denied" } }]);
  t.equal(framesAfter, 0);
  t.equal(p.secondary.get(sliceId(1))!.grains.size, 0);
});

t.test("the safety stop", async (t) => {
  const emptied = pair([], grains(0, 5));
  await emptied.sync();
  t.match(emptied.results, [{ outcome: "failed", error: { code: "limit" } }]);
  t.equal(emptied.secondary.get(sliceId(1))!.grains.size, 5);
  await new MemoryPair(emptied.primary, emptied.secondary).sync({ allowDrops: true });
  t.ok(same(emptied));

  const halved = pair(grains(0, 50), grains(0, 101));
  await halved.sync();
  t.match(halved.results, [{ error: { code: "limit" } }]);
  const small = pair(grains(0, 40), grains(0, 100));
  await small.sync();
  t.ok(same(small), "up to 100 grains may shrink");
  const replaced = pair([grain(7)], [grain(1)]);
  await replaced.sync();
  t.ok(same(replaced), "a level-1 replacement is not a drop");
});

t.test("a rehearsal decides the same and fetches nothing", async (t) => {
  const p = pair(grains(3, 12), grains(0, 6));
  await p.sync({ rehearsal: true });
  t.match(p.results, [{ outcome: "would-update", added: 6, removed: 3 }]);
  t.match(p.confirms, [{ test: true, outcome: "would-update" }]);
  t.notOk(messages(p.toPrimary.log).includes("fetch"));
  t.equal(p.secondary.get(sliceId(1))!.grains.size, 6);
  const real = new MemoryPair(p.primary, p.secondary);
  await real.sync();
  t.match(real.results, [{ added: p.results[0]!.added, removed: p.results[0]!.removed }]);
});

t.test("an old confirmation is sent again", async (t) => {
  const p = pair(grains(0, 2), grains(0, 2));
  p.outbox.push({
    type: "confirm",
    run_id: sliceId(77),
    id: sliceId(1),
    test: false,
    outcome: "updated",
    hash: "0".repeat(16),
    count: 2,
    added: 2,
    removed: 0,
    bytes: 5,
    duration_ms: 1,
    message: "",
  });
  await p.sync();
  t.match(p.confirms, [{ run_id: sliceId(77) }]);
  t.same(p.outbox, []);
});

t.test("what a primary may not do", async (t) => {
  const edit = (n: number, change: (frame: Buffer) => Buffer[]) => (p: MemoryPair) => {
    let seen = 0;
    p.toSecondary.tamper = (item) =>
      "binary" in item && seen++ === n ? change(item.binary).map((binary) => ({ binary })) : [item];
  };
  const say = (type: string, change: (message: Record<string, unknown>) => void) => (p: MemoryPair) => {
    p.toSecondary.tamper = (item) => {
      if (!("text" in item)) return [item];
      const message = heard(item);
      if (message.type === type) change(message);
      return [said(message)];
    };
  };
  const set = (type: string, members: object) => say(type, (message) => Object.assign(message, members));
  const flip = (at: number) => (frame: Buffer) => {
    const copy = Buffer.from(frame);
    copy[copy.length - at]! ^= 1;
    return [copy];
  };
  const held: Buffer[] = [];
  const evil: [string, string, (p: MemoryPair) => void][] = [
    ["a frame twice", "protocol", edit(0, (frame) => [frame, frame])],
    ["a frame left out", "protocol", edit(0, () => [])],
    [
      "frames swapped",
      "protocol",
      (p) => {
        let seen = 0;
        p.toSecondary.tamper = (item) => {
          if (!("binary" in item)) return [item];
          if (seen++ === 0) {
            held.push(item.binary);
            return [];
          }
          const first = held.pop();
          return first === undefined ? [item] : [item, { binary: first }];
        };
      },
    ],
    ["a frame cut short", "protocol", edit(0, (frame) => [frame.subarray(0, frame.length - 3)])],
    ["a payload altered", "verification", edit(1, flip(1))],
    ["an empty frame", "protocol", edit(0, () => [Buffer.alloc(0)])],
    ["another hash than declared", "protocol", set("content", { hash: "f".repeat(16) })],
    ["another count, lower", "protocol", set("content", { count: 5 })],
    ["another count, higher", "protocol", set("content", { count: 13 })],
    ["an absurd count", "protocol", set("content", { count: 9e15 })],
    [
      "an absurd count from the beginning",
      "limit",
      say("compared", (m) => {
        (m.slices as { count: number }[])[0]!.count = 9e15;
      }),
    ],
    [
      "metadata keys that do not ascend",
      "protocol",
      set("content", {
        metadata: [
          ["b", ""],
          ["a", ""],
        ],
      }),
    ],
    [
      "a metadata key twice",
      "protocol",
      set("content", {
        metadata: [
          ["a", "1"],
          ["a", "2"],
        ],
      }),
    ],
    ["NUL in metadata", "protocol", set("content", { metadata: [["a", "\u0000"]] })],
    ["half a character in metadata", "protocol", set("content", { metadata: [["\ud800", ""]] })],
    ["fewer bytes declared than sent", "protocol", set("content", { bytes: 3 })],
    ["an end with a wrong count", "protocol", set("end", { grains: 1 })],
    ["an end of another slice", "protocol", set("end", { id: sliceId(9) })],
    ["another server", "protocol", set("begin", { server_id: sliceId(9) })],
    ["a newer major version", "protocol", set("begin", { protocol: "3.0" })],
    ["an older major version", "protocol", set("begin", { protocol: "1.1" })],
    [
      "a missing field",
      "protocol",
      say("compared", (m) => {
        delete m.slices;
      }),
    ],
    ["an unknown type", "protocol", set("compared", { type: "shutdown" })],
    [
      "an answer for a slice that was not asked about",
      "protocol",
      say("compared", (m) => {
        (m.slices as { id: string }[])[0]!.id = sliceId(9);
      }),
    ],
    [
      "text that is not JSON",
      "protocol",
      (p) => {
        p.toSecondary.tamper = () => [said("{")];
      },
    ],
    ["metadata that was not declared", "verification", set("content", { metadata: [["x", "y"]] })],
  ];
  for (const [name, code, arrange] of evil) {
    const p = pair(grains(0, 12), []);
    arrange(p);
    const error = await thrown(p.sync()).catch(() => p.results.find((result) => result.error)?.error);
    t.equal(error?.code, code, name);
    t.equal(p.secondary.get(sliceId(1))!.grains.size, 0, `${name}: as before`);
  }
});

t.test("grains that were not asked for are refused", async (t) => {
  const p = pair(grains(0, 6), grains(0, 3));
  const wanted = p.primary.get(sliceId(1))!;
  // The primary changes its mind about which grains these are, under the same hash.
  const hash = wanted.hash();
  let fetched = false;
  p.toPrimary.tamper = (item) => {
    if ("text" in item && heard(item).type === "fetch") fetched = true;
    return [item];
  };
  p.onLook = () => {
    if (!fetched) return;
    wanted.grains.clear();
    for (const g of grains(20, 26)) wanted.grains.set(g.id, g);
    wanted.hash = () => hash;
  };
  await p.sync();
  t.match(
    p.results,
    [{ outcome: "failed", error: { code: "verification" } }],
    "the lie does not survive the final check",
  );
  t.equal(p.secondary.get(sliceId(1))!.grains.size, 3);
});

t.test("unknown optional fields are ignored, acknowledgements of nothing are not", async (t) => {
  const p = pair(grains(0, 3), []);
  p.toSecondary.tamper = (item) => ("text" in item ? [said({ ...heard(item), news: 1 })] : [item]);
  await p.sync();
  t.ok(same(p));
  const q = pair(grains(0, 3), grains(0, 3));
  q.toSecondary.tamper = (item, n) =>
    n === 1 ? [said({ type: "confirmed", id: sliceId(1), run_id: sliceId(1) }), item] : [item];
  t.equal((await thrown(q.sync())).code, "protocol");
});

t.test("what a secondary may not do", async (t) => {
  const evil: [string, (message: Record<string, unknown>) => Incoming[]][] = [
    ["compare twice", (m) => [said(m), said(m)]],
    ["compare arrays of different lengths", (m) => [said({ ...m, counts: [] })]],
    ["name a slice twice", (m) => [said({ ...m, ids: [sliceId(1), sliceId(1)], hashes: ["", ""], counts: [0, 0] })]],
    [
      "name too many slices",
      (m) => [
        said({
          ...m,
          ids: Array.from({ length: 101 }, (_, i) => sliceId(i)),
          hashes: Array(101).fill(""),
          counts: Array(101).fill(0),
        }),
      ],
    ],
    [
      "fetch before comparing",
      () => [
        said({
          type: "fetch",
          id: sliceId(1),
          hash: "0".repeat(16),
          by: "all",
          count: 0,
          after: null,
        }),
      ],
    ],
    ["send a frame instead", () => [{ binary: Buffer.alloc(40) }]],
    [
      "fetch ids that do not ascend",
      (m) => [
        said(m),
        said({
          type: "fetch",
          id: sliceId(1),
          hash: "0".repeat(16),
          by: "ids",
          count: 2,
          after: null,
        }),
        { binary: idsFrame(2) },
      ],
    ],
  ];
  for (const [name, change] of evil) {
    const p = pair(grains(0, 3), []);
    p.toPrimary.tamper = (item) => ("text" in item && heard(item).type === "compare" ? change(heard(item)) : [item]);
    t.equal((await thrown(p.sync())).code, "protocol", name);
  }
});

/** A frame of `n` equal ids. */
function idsFrame(n: number): Buffer {
  const frame = Buffer.alloc(16 + 16 * n);
  frame.writeUInt8(2, 0);
  frame.writeUInt32BE(n, 8);
  frame.writeUInt32BE(16 * n, 12);
  return frame;
}

t.test("larger sets are compared by coded symbols, at the cost of the difference", async (t) => {
  for (const changed of [0, 1, 10, 60, 300, 900]) {
    const p = pair(grains(changed, 1000 + changed), grains(0, 1000));
    p.readSize = 400;
    p.primary.get(sliceId(1))!.metadata = [["generation", "2"]];
    await p.sync({}, 5000);
    t.ok(same(p), `${changed} replaced`);
    t.match(p.results, [{ outcome: "updated", added: changed, removed: changed }]);
    const spent = p.toSecondary.log.reduce(
      (sum, item) => ("binary" in item && [1, 5].includes(item.binary[0]!) ? sum + item.binary.length : sum),
      0,
    );
    t.ok(
      spent <= Math.min(1.2 * 24 * 1000, 128 * 22 + 100 + 80 * changed),
      `${spent} bytes of cells and lists for ${changed}`,
    );
  }
});

t.test("cells that lie cost a list, or the connection, never a wrong slice", async (t) => {
  const tamperCells = (change: (body: Buffer) => void) => {
    const p = pair(grains(5, 505), grains(0, 500));
    p.readSize = 200;
    p.toSecondary.tamper = (item) => {
      if ("binary" in item && item.binary[0] === 5) change(item.binary.subarray(16));
      return [item];
    };
    return p;
  };
  const noise = tamperCells((body) => body.fill(0xa5));
  await noise.sync();
  t.ok(same(noise), "noise: a list is asked for in the end");
  const hidden = tamperCells((body) => body.fill(0));
  await hidden.sync();
  t.ok(same(hidden), "zeros");

  const nobody = "ffffffff-0000-4000-8000-000000000000";
  const invented = tamperCells((body) => {
    const cells = new Cells(body.length / cellBytes);
    atOnce(cells.decode(0, body));
    cells.toggle(uuidBytes(nobody), 0, 1);
    cells.encode().copy(body);
  });
  await invented.sync();
  t.ok(same(invented), "the id of a grain that the primary does not have");
  t.ok(
    invented.toPrimary.log.some((item) => "text" in item && heard(item).want === "list"),
    "a list was asked for",
  );
});

t.test(
  "damage: other bytes under an id are found by a list; what a slice says of itself is counted again",
  async (t) => {
    const wants = (p: MemoryPair) =>
      p.toPrimary.log.flatMap((item) => ("text" in item ? (heard(item).want ?? heard(item).type) : []));
    const grainHere = pair(grains(3, 303), grains(0, 300));
    grainHere.secondary.get(sliceId(1))!.grains.set(grain(200).id, grain(200, "rotten"));
    await grainHere.sync();
    t.ok(same(grainHere));
    t.match(grainHere.results, [{ outcome: "updated", added: 4, removed: 4, damaged: undefined }]);
    t.ok(wants(grainHere).includes("cells") && wants(grainHere).includes("list"), "cells do not see it");

    for (const [where, is] of [
      ["secondary", { here: true, there: false }],
      ["primary", { here: false, there: true }],
    ] as const) {
      for (const says of [
        { hash: "0123456789abcdef", count: 300 },
        { hash: "0123456789abcdef", count: 7 },
      ]) {
        const p = pair(grains(3, 303), grains(0, 300));
        p.readSize = 400;
        p[where].get(sliceId(1))!.says = says;
        await p.sync();
        if (where === "primary" && says.count === 7) {
          // Its own list shows it that.
          t.match(p.results, [{ outcome: "failed", error: { code: "unavailable" } }]);
          t.match(p.failures, [/has 300 grains, and says 7/]);
          continue;
        }
        t.ok(same(p), `${where} ${says.count}`);
        t.match(p.results, [{ outcome: "updated", added: 3, removed: 3, damaged: is }]);
        t.equal(wants(p).filter((type) => type === "recount").length, 1);
      }
    }

    const never = pair(grains(3, 303), grains(0, 300));
    never.primary.get(sliceId(1))!.says = { hash: "0123456789abcdef", count: 300 };
    never.primary.get(sliceId(1))!.recount = () => false;
    await never.sync();
    t.match(never.results, [{ outcome: "failed", error: { code: "verification" } }], "it is counted again once");
    t.equal(never.secondary.get(sliceId(1))!.grains.size, 300);

    // Somebody else's question has put it right meanwhile.
    const late = pair(grains(3, 303), grains(0, 300));
    late.readSize = 400;
    late.primary.get(sliceId(1))!.says = { hash: "0123456789abcdef", count: 300 };
    late.toPrimary.tamper = (item) => {
      if ("text" in item && heard(item).type === "recount") late.primary.get(sliceId(1))!.says = undefined;
      return [item];
    };
    await late.sync();
    t.match(late.results, [{ outcome: "updated", damaged: undefined }]);
    t.ok(same(late));

    const rehearsed = pair(grains(3, 303), grains(0, 300));
    rehearsed.secondary.get(sliceId(1))!.says = { hash: "0123456789abcdef", count: 7 };
    await rehearsed.sync({ rehearsal: true });
    t.match(rehearsed.results, [{ outcome: "failed", error: { code: "verification" } }]);
    t.ok(rehearsed.secondary.get(sliceId(1))!.says, "a rehearsal puts nothing right");
  },
);
