/** Two sets of any size are found to differ by exactly what they differ by: both sides' pure parts, thousands of times. */
import t from "tap";
import { uuidText } from "../../../src/ids.ts";
import { addList, Cells } from "../../../src/sync/protocol/coded-symbols.ts";
import { drive } from "../../../src/sync/protocol/effects.ts";
import { type Found, findDifference } from "../../../src/sync/protocol/find-difference.ts";
import { type Incoming, readSecondaryMessage } from "../../../src/sync/protocol/messages.ts";
import { atOnce } from "../../../src/sync/protocol/pieces.ts";
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

/** List entries with ascending ids and symbols as good as random; `salt` makes other symbols for one id in fifty. */
function pool(count: number, salt: number): Buffer {
  const list = Buffer.alloc(count * entryBytes);
  const next = numbers(7);
  const other = numbers(salt);
  for (let i = 0; i < count; i++) {
    list.writeUInt32BE(i, i * entryBytes);
    const damaged = salt > 0 && i % 50 === 0;
    for (const at of [16, 20]) {
      const symbol = next() * 2 ** 32;
      list.writeUInt32BE(damaged ? other() * 2 ** 32 : symbol, i * entryBytes + at);
    }
  }
  return list;
}

/** What both sides say to each other about a pair of lists. */
async function compare(local: Buffer, remote: Buffer): Promise<Found> {
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
    readCells: async (_id: string, length: number) => {
      const cells = new Cells(length);
      atOnce(addList(cells, remote));
      return { view, data: cells };
    },
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
  } as Partial<SecondaryPort> as SecondaryPort;
  const facts = { maxGrains: 10 * most, unconfirmed: 0 } as Partial<SecondaryFacts> as SecondaryFacts;
  const slice = localSlice({ id, name: "s", subscription: "s", hash: before, count: local.length / entryBytes });
  const found = await drive(findDifference(facts, slice, { hash: now, count }, false), secondary);
  if ("refused" in found || answers.length > 0) throw new Error("refused, or something was left unread");
  return found;
}

/** The symbols of a pool's grains, to the grains' numbers. */
const numbersOf = (list: Buffer) =>
  new Map(
    Array.from({ length: list.length / entryBytes }, (_, i) => [list.readBigUInt64BE(i * entryBytes + 16), i] as const),
  );

const sound = pool(2 * most, 0);
const damaged = pool(2 * most, 3);
const bySymbol = new Map([...numbersOf(sound), ...numbersOf(damaged)]);

/** The grains `from` to before `to` of a pool. */
interface Window {
  of: Buffer;
  from: number;
  to: number;
}

const listOf = ({ of, from, to }: Window) => of.subarray(from * entryBytes, to * entryBytes);

/** The numbers of the grains of `one` that `other` does not have as they are. */
function onlyIn(one: Window, other: Window): number[] {
  const only: number[] = [];
  for (let i = one.from; i < one.to; i++) {
    const there = i >= other.from && i < other.to && (one.of === other.of || i % 50 !== 0);
    if (!there) only.push(i);
  }
  return only;
}

/** Whether what was found is what is in one list and not in the other. */
function isExact(local: Window, remote: Window, { wanted, removed }: Found): boolean {
  const ids = (bytes: Buffer) => Array.from({ length: bytes.length / 16 }, (_, i) => bytes.readUInt32BE(i * 16));
  const same = (a: number[], b: number[]) => a.length === b.length && a.every((n, i) => n === b[i]);
  if (wanted.by === "all") return same(ids(removed), onlyIn(local, { ...remote, from: 0, to: 0 }));
  if (!same(ids(removed), onlyIn(local, remote))) return false;
  const { by, named } = wanted;
  const come =
    by === "ids"
      ? ids(named)
      : Array.from({ length: named.length / 8 }, (_, i) => bySymbol.get(named.readBigUInt64BE(i * 8)) ?? -1);
  return same(
    come.sort((a, b) => a - b),
    onlyIn(remote, local),
  );
}

t.test(`${pairs} pairs of sets, of none to ${most}, that differ by none to all`, async (t) => {
  const random = numbers(42);
  /** From 0 to `top`, more often small than large. */
  const upTo = (top: number) => Math.floor((top + 1) ** (random() ** 1.7)) - (random() < 0.02 ? 1 : 0);
  const ways = new Map<string, number>();
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
    ways.set(found.wanted.by, (ways.get(found.wanted.by) ?? 0) + 1);
    largest = Math.max(largest, size, otherSize);
    if (!isExact(local, remote, found))
      wrong.push(`${n}: ${size} and ${otherSize} from ${shift}, by ${found.wanted.by}`);
  }
  t.same(wrong, []);
  t.ok(largest > 0.9 * most, `the largest had ${largest}`);
  for (const way of ["all", "ids", "symbols"]) t.ok(ways.get(way)! > pairs / 50, `${ways.get(way)} by ${way}`);
  t.equal(uuidText(sound.subarray(entryBytes)).slice(0, 8), "00000001", "ids ascend");
});
