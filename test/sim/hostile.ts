/** A hostile primary: the program's own, with every now and then something else on the wire than it meant to send. */
import { compressedFlag, frameTypes, headerBytes } from "../../src/sync/protocol/frames.ts";
import type { Random } from "../harness/random.ts";
import { encodeTuple, int8 } from "../harness/tuples.ts";
import { idOf } from "./names.ts";
import type { ListAnswer } from "./primary-node.ts";

type Sent = string | Buffer;

/** A grain that nobody has. */
const extra = encodeTuple([
  Buffer.alloc(16, 0xff),
  Buffer.from("a key of its own"),
  Buffer.alloc(0),
  Buffer.from("raw"),
  int8(0),
  Buffer.alloc(0),
]);

/** How often it lies. */
const probability = 0.12;

/** @returns what becomes of each thing that is sent. */
export function tamperer(random: Random, onEvent: (name: string) => void): (data: Sent) => Sent[] {
  let held: Sent | undefined;
  const frames: Record<string, (frame: Buffer) => Sent[]> = {
    twice: (frame) => [frame, frame],
    dropped: () => [],
    truncated: (frame) => [frame.subarray(0, random.int(0, frame.length - 1))],
    altered: (frame) => [flip(frame, headerBytes, random)],
    "with another header": (frame) => [flip(frame, 0, random)],
    swapped: (frame) => {
      held = frame;
      return [];
    },
    "with another id": (frame) => {
      const copy = Buffer.from(frame);
      const at = headerBytes + 2 + 4;
      if (copy.length > at + 16)
        Buffer.from(idOf(5, 1, random.int(0, 2), random.int(0, 9), random.int(1, 40)).replaceAll("-", ""), "hex").copy(
          copy,
          at,
        );
      return [copy];
    },
    "with one record more": (frame) => {
      if (frame[0] !== frameTypes.grains || (frame[1]! & compressedFlag) !== 0) return [frame];
      const more = Buffer.concat([frame, extra]);
      more.writeUInt32BE(frame.readUInt32BE(8) + 1, 8);
      more.writeUInt32BE(more.length - headerBytes, 12);
      return [more];
    },
    "with the last id of all": (frame) => {
      const copy = Buffer.from(frame);
      if (frame[0] === frameTypes.grains && (frame[1]! & compressedFlag) === 0)
        copy.fill(0xff, headerBytes + 6, headerBytes + 22);
      return [copy];
    },
    "with another check": (frame) => {
      const copy = Buffer.from(frame);
      if (frame[0] === frameTypes.list) copy[copy.length - 1]! ^= 1;
      return [copy];
    },
    "as text": (frame) => [frame.toString("latin1")],
  };
  const messages: Record<string, (text: string) => Sent[]> = {
    twice: (text) => [text, text],
    dropped: () => [],
    truncated: (text) => [text.slice(0, random.int(0, text.length - 1))],
    "of another slice": (text) => [
      text.replace(/"id":"[^"]+"/, `"id":"${idOf(3, random.int(0, 2), random.int(0, 2))}"`),
    ],
    "with another hash": (text) => [text.replace(/"hash":"[^"]{3}/, `"hash":"${random.int(100, 999)}`)],
    "with another count": (text) => [
      text.replace(/"(count|grains|bytes)":(\d+)/g, (_, name, n) => `"${name}":${Number(n) + random.int(-1, 3)}`),
    ],
    "with fewer bytes": (text) => [
      text.replace(/"bytes":(\d+)/, (_, n) => `"bytes":${Math.max(0, Number(n) - random.int(1, 50))}`),
    ],
    "with an absurd size": (text) => [text.replace(/("type":"content".*"bytes":)\d+/, `$1${Number.MAX_SAFE_INTEGER}`)],
    "with an absurd count": (text) => [text.replace(/"(count|grains)":\d+/, `"$1":${Number.MAX_SAFE_INTEGER}`)],
    "with other metadata": (text) => [
      text.replace(
        '"metadata":[',
        `"metadata":[["a","${random.int(0, 9)}"]${text.includes('"metadata":[]') ? "" : ","}`,
      ),
    ],
    "as a frame": (text) => [Buffer.from(text)],
    "with a stranger": (text) => [
      text,
      '{"type":"confirmed","id":"00000000-0000-4000-8000-000000000000","run_id":"00000000-0000-4000-8000-000000000000"}',
    ],
  };
  return (data) => {
    const late = held;
    held = undefined;
    const before = late === undefined ? [] : [late];
    const seldom = typeof data !== "string" && data[0] === frameTypes.list;
    if (!random.chance(seldom ? 0.25 : probability)) return [data, ...before];
    const moves: [string, (data: never) => Sent[]][] = Object.entries(typeof data === "string" ? messages : frames);
    // What few frames lend themselves to is done to those that do.
    const fitting = typeof data !== "string" && random.chance(0.5) ? moves.filter(([one]) => fits(data, one)) : moves;
    const [name, move] = random.pick(fitting.length > 0 ? fitting : moves);
    onEvent(`a hostile ${typeof data === "string" ? "message" : "frame"} ${name}`);
    return [...move(data as never), ...before];
  };
}

/** What becomes of a list of subscriptions. */
export function listTamperer(random: Random, onEvent: (name: string) => void): (answer: ListAnswer) => ListAnswer {
  type Row = {
    id: string;
    name: string;
    active: boolean;
    company_id: string;
    slice: { id: string; slice_name: string };
  };
  const moves: Record<string, (rows: Row[]) => unknown> = {
    "with nothing in it": () => [],
    "with a row less": (rows) => rows.slice(1),
    "with a row twice": (rows) => [...rows, ...rows.slice(0, 1)],
    "with slices swapped": (rows) => rows.map((row, i) => ({ ...row, slice: rows[rows.length - 1 - i]!.slice })),
    "with another slice": (rows) =>
      rows.map((row) => ({ ...row, slice: { ...row.slice, id: idOf(3, random.int(0, 3), random.int(0, 3)) } })),
    "with the names of another": (rows) =>
      rows.map((row) => ({ ...row, name: "slice 0 for 0", slice: { ...row.slice, slice_name: "Slice 0" } })),
    "with everything switched off": (rows) => rows.map((row) => ({ ...row, active: false })),
    "of another company": (rows) => rows.map((row) => ({ ...row, company_id: idOf(2, 99) })),
    "that is no list": (rows) => ({ rows }),
  };
  return ({ body, etag }) => {
    if (body === null || !random.chance(probability)) return { body, etag };
    const [name, move] = random.pick(Object.entries(moves));
    onEvent(`a hostile list ${name}`);
    return { body: JSON.stringify(move(JSON.parse(body) as Row[])), etag: random.chance(0.3) ? '"another"' : etag };
  };
}

function flip(frame: Buffer, from: number, random: Random): Buffer {
  const copy = Buffer.from(frame);
  const to = from === 0 ? Math.min(headerBytes, frame.length) : frame.length;
  if (to > from) copy[random.int(from, to - 1)]! ^= 1 << random.int(0, 7);
  return copy;
}

const fits = (frame: Buffer, move: string): boolean =>
  frame[0] === frameTypes.list ? move === "with another check" : /id|record/.test(move);
