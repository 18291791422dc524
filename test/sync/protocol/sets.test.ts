/** Two sets of any size are found to differ by exactly what they differ by: both sides' pure parts, thousands of times. */
import t from "tap";
import { uuidText } from "../../../src/ids.ts";
import { atOnce } from "../../../src/pieces.ts";
import { addIds } from "../../../src/slices/cells.ts";
import { Cells } from "../../../src/slices/rules/sketch.ts";
import { drive } from "../../../src/sync/protocol/effects.ts";
import { type Found, findDifference } from "../../../src/sync/protocol/find-difference.ts";
import { idsOf } from "../../../src/sync/protocol/id-lists.ts";
import { type Incoming, readSecondaryMessage } from "../../../src/sync/protocol/messages.ts";
import type { PrimaryPort, SliceView } from "../../../src/sync/protocol/primary-port.ts";
import type { SecondaryFacts, SecondaryPort } from "../../../src/sync/protocol/secondary-port.ts";
import { serveCells, serveContent } from "../../../src/sync/protocol/serve-difference.ts";
import { localSlice, said } from "./memory-pair.ts";

const parseSecondaryMessage = (...said: Parameters<typeof readSecondaryMessage>) =>
  atOnce(readSecondaryMessage(...said));

t.setTimeout(300_000);

const pairs = 10_000;
const most = 100_000;
const entryBytes = 24;
const id = "00000000-0000-4000-8000-000000000001";
const [before, now] = ["00000000000000aa", "00000000000000bb"];

/** A generator of numbers from 0 to 1 (mulberry32), the same ones every time. */
function numbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let x = Math.imul(state ^ (state >>> 15), state | 1);
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** List entries with ascending ids and checks as good as random; `salt` makes other checks for one id in fifty, which is damage. */
function pool(count: number, salt: number): Buffer {
  const list = Buffer.alloc(count * entryBytes);
  const next = numbers(7);
  const other = numbers(salt);
  for (let i = 0; i < count; i++) {
    list.writeUInt32BE(i, i * entryBytes);
    const damaged = salt > 0 && i % 50 === 0;
    for (const at of [4, 8, 12]) list.writeUInt32BE(next() * 2 ** 32, i * entryBytes + at);
    for (const at of [16, 20]) {
      const check = next() * 2 ** 32;
      list.writeUInt32BE(damaged ? other() * 2 ** 32 : check, i * entryBytes + at);
    }
  }
  return list;
}

/** Ids between two states of the cells that are kept. */
const stride = 1000;
const keptLength = 4096;

/** The cells of the first 0, 1,000, 2,000, ... ids of the pools, which have the same. */
const kept: Cells[] = [];

/** What is in `to` and not in `from`, which it goes on from: cells are sums, as a slice's sketch is when it is carried forward. */
function between(from: Cells, to: Cells, length: number): Cells {
  const cells = to.resized(length);
  for (let i = 0; i < 4 * length; i++) cells.ids[i]! ^= from.ids[i]!;
  for (let i = 0; i < length; i++) {
    cells.checks[i]! ^= from.checks[i]!;
    cells.counts[i]! -= from.counts[i]!;
  }
  return cells;
}

/** The first `length` cells of a list's ids. */
function cellsOf(list: Buffer, length: number): Cells {
  const count = list.length / entryBytes;
  if (length <= keptLength && count > 2 * stride) {
    const from = list.readUInt32BE(0);
    const [first, last] = [Math.ceil(from / stride), Math.floor((from + count) / stride)];
    const cells = between(kept[first]!, kept[last]!, length);
    addAll(cells, list.subarray(0, (first * stride - from) * entryBytes));
    addAll(cells, list.subarray((last * stride - from) * entryBytes));
    return cells;
  }
  const cells = new Cells(length);
  addAll(cells, list);
  return cells;
}

const addAll = (cells: Cells, list: Buffer): void => atOnce(addIds(cells, atOnce(idsOf(list))));

/** What both sides say to each other about a pair of lists. */
async function compare(local: Buffer, remote: Buffer, byList = false): Promise<Found> {
  const count = remote.length / entryBytes;
  const view: SliceView = { id, allowSync: true, hash: now, count, bytes: count };
  const answers: Incoming[] = [];
  const primary = {
    send: async (message: unknown) => void answers.push(said(message as object)),
    sendFrame: async (frame: Buffer) => void answers.push({ binary: frame }),
    breathe: async () => {},
    look: async () => [view],
    readMetadata: async () => ({ view, data: [] }),
    readList: async (_id: string, after: Buffer | null) => {
      const from = after === null ? 0 : (after.readUInt32BE(0) - remote.readUInt32BE(0) + 1) * entryBytes;
      return { view, data: remote.subarray(from, from + 50_000 * entryBytes) };
    },
    readCells: async (_id: string, length: number) => ({ view, data: cellsOf(remote, length) }),
  } as Partial<PrimaryPort> as PrimaryPort;
  const secondary = {
    send: async (sent) => {
      const message = parseSecondaryMessage(said(sent));
      if (message.type === "reconcile") await drive(serveContent(message), primary);
      else if (message.type === "cells") await drive(serveCells(message), primary);
      else throw new Error(`it says ${message.type}`);
    },
    receive: async () => answers.shift()!,
    breathe: async () => {},
    readLocalList: async () => local,
    readLocalCells: async (_slice, length) => cellsOf(local, length),
  } as Partial<SecondaryPort> as SecondaryPort;
  const facts = { maxGrains: 10 * most, unconfirmed: 0 } as Partial<SecondaryFacts> as SecondaryFacts;
  const slice = localSlice({ id, name: "s", subscription: "s", hash: before, count: local.length / entryBytes });
  const found = await drive(findDifference(facts, slice, { hash: now, count }, byList), secondary);
  if ("refused" in found || answers.length > 0) throw new Error("refused, or something was left unread");
  return found;
}

const sound = pool(2 * most, 0);
const damaged = pool(2 * most, 3);
for (let n = 0, cells = new Cells(keptLength); n <= (2 * most) / stride; n++) {
  kept.push(cells.resized(keptLength));
  addAll(cells, sound.subarray(n * stride * entryBytes, (n + 1) * stride * entryBytes));
}

/** The grains `from` to before `to` of a pool. */
interface Window {
  of: Buffer;
  from: number;
  to: number;
}

const listOf = ({ of, from, to }: Window) => of.subarray(from * entryBytes, to * entryBytes);

/** The numbers of the grains of `one` that `other` does not have, as they are unless only their `ids` count. */
function onlyIn(one: Window, other: Window, ids: boolean): number[] {
  const only: number[] = [];
  for (let i = one.from; i < one.to; i++) {
    const there = i >= other.from && i < other.to && (ids || one.of === other.of || i % 50 !== 0);
    if (!there) only.push(i);
  }
  return only;
}

/** Whether what was found is what is in one list and not in the other; cells do not see what is damaged, since to them an id says all. */
function isExact(local: Window, remote: Window, { wanted, removed, peeled }: Found): boolean {
  const ids = (bytes: Buffer) => Array.from({ length: bytes.length / 16 }, (_, i) => bytes.readUInt32BE(i * 16));
  const same = (a: number[], b: number[]) => a.length === b.length && a.every((n, i) => n === b[i]);
  if (wanted.by === "all") return same(ids(removed), onlyIn(local, { ...remote, from: 0, to: 0 }, false));
  return same(ids(removed), onlyIn(local, remote, peeled)) && same(ids(wanted.named), onlyIn(remote, local, peeled));
}

/** How a difference was found. */
const wayOf = ({ wanted, peeled }: Found) => (wanted.by === "all" ? "all" : peeled ? "cells" : "lists");

t.test(`${pairs} pairs of sets, of none to ${most}, that differ by none to all`, async (t) => {
  const random = numbers(42);
  /** From 0 to `top`, more often small than large. */
  const upTo = (top: number) => Math.floor((top + 1) ** (random() ** 1.7)) - (random() < 0.02 ? 1 : 0);
  const ways = new Map<string, number>();
  const unseen = { cells: 0, lists: 0 };
  const wrong: string[] = [];
  let largest = 0;
  for (let n = 0; n < pairs; n++) {
    const size = Math.max(0, Math.min(most, upTo(most)));
    // The second window begins somewhere in the first, and is about as long, or not.
    const shift = Math.min(size, random() < 0.1 ? 0 : Math.max(0, upTo(size)));
    const otherSize = Math.max(0, Math.min(most, random() < 0.7 ? size + upTo(100) - upTo(100) : upTo(most)));
    const first: Window = { of: sound, from: 0, to: size };
    const second: Window = { of: random() < 0.1 ? damaged : sound, from: shift, to: shift + otherSize };
    const [local, remote] = random() < 0.5 ? [first, second] : [second, first];
    const found = await compare(listOf(local), listOf(remote));
    ways.set(wayOf(found), (ways.get(wayOf(found)) ?? 0) + 1);
    largest = Math.max(largest, size, otherSize);
    const what = `${n}: ${size} and ${otherSize} from ${shift}, by`;
    if (!isExact(local, remote, found)) wrong.push(`${what} ${wayOf(found)}`);
    if (!found.peeled || local.of === remote.of) continue;
    // What cells do not see of it, the next attempt does.
    unseen.cells++;
    const again = await compare(listOf(local), listOf(remote), true);
    if (again.peeled || !isExact(local, remote, again)) wrong.push(`${what} ${wayOf(again)}, after cells`);
    if (again.removed.length > found.removed.length) unseen.lists++;
  }
  t.same(wrong, []);
  t.ok(largest > 0.9 * most, `the largest had ${largest}`);
  t.ok(unseen.lists > 100, `${unseen.lists} of ${unseen.cells} pairs found by cells were damaged, which lists saw`);
  for (const way of ["all", "lists", "cells"]) t.ok(ways.get(way)! > pairs / 50, `${ways.get(way)} by ${way}`);
  t.equal(uuidText(sound.subarray(entryBytes)).slice(0, 8), "00000001", "ids ascend");
  const [list, counted] = [listOf({ of: damaged, from: 1234, to: 54_321 }), new Cells(keptLength)];
  addAll(counted, list);
  t.same(cellsOf(list, keptLength).encode(), counted.encode(), "cells that are carried forward are those of a count");
});
