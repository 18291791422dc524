/** What moves of an evil primary are put together from. */
import { Buffer } from "node:buffer";
import { brotliCompressSync, constants } from "node:zlib";
import { uuidBytes } from "../../../src/ids.ts";
import { idBytes, listEntryBytes } from "../../../src/slices/rules/hash.ts";
import { tupleFields } from "../../../src/slices/rules/tuples.ts";
import { compressedFlag, encodeFrame, type Frame } from "../../../src/sync/protocol/frames.ts";
import { encodeTuple, int8 } from "../../harness/tuples.ts";
import type { Message, Passing, Script, Sent } from "./evil-primary.ts";
import type { SliceName, World } from "./world.ts";

/** One thing that an evil primary does. */
export interface PrimaryMove extends Script {
  name: string;
  /** The slice that has changed at the primary. */
  slice: SliceName;
  /** How the secondary's run ends. */
  exit: number;
  /** What it says then. */
  says?: RegExp;
  /** How many honest runs it takes after it, if not one. */
  heals?: number;
  /** Nothing is switched off: it would never end. */
  once?: true;
  /** The address that the secondary has for it. */
  address?(url: string): string;
  /** Called before each run, with whatever is honest in place. */
  prepare?(world: World): Promise<void>;
}

/** Makes everything as it is to be before a move. */
export async function lay(world: World, move: PrimaryMove): Promise<void> {
  await world.change(move.slice);
  if (move.slice === "fresh") await world.forget("fresh");
  await move.prepare?.(world);
  await world.dial(move.address?.(world.evil.url) ?? world.evil.url);
}

export const honest = ({ message, frame }: Passing): Sent => message ?? frame;

/** Something else in place of message or frame `n` of a type; everything if `n` is not given. */
export const instead = (
  type: string,
  n: number | undefined,
  change: (passing: Passing) => Sent[],
): Pick<Script, "session"> => ({
  session: () => (passing) =>
    passing.type === type && (n === undefined || passing.n === n) ? change(passing) : [honest(passing)],
});

/** The same, with the frames of each answer numbered anew: a stream that is right but for what is in it. */
export const insteadInOrder = (
  type: string,
  n: number | undefined,
  change: (passing: Passing) => Sent[],
): Pick<Script, "session"> => ({
  session: () => {
    let shift = 0;
    return (passing) => {
      if (passing.frame?.sequence === 0) shift = 0;
      const first = passing.frame?.sequence ?? 0;
      const chosen = passing.type === type && (n === undefined || passing.n === n);
      const sent = chosen ? change(passing) : [honest(passing)];
      if (passing.frame === undefined) return sent;
      const numbered = sent.map((each, i) =>
        typeof each === "object" && "sequence" in each ? { ...each, sequence: first + shift + i } : each,
      );
      shift += sent.length - 1;
      return numbered;
    };
  },
});

/** Messages of several types, each changed in its way. */
export const messages = (
  changes: Readonly<Record<string, (message: Message, passing: Passing) => Sent[]>>,
): Pick<Script, "session"> => ({
  session: () => (passing) => changes[passing.type]?.(passing.message ?? passing.frame, passing) ?? [honest(passing)],
});

/** A message with other members. */
export const altered = (type: string, change: (message: Message) => Message) =>
  instead(type, undefined, ({ message }) => [{ ...message, ...change(message) }]);

/** The bytes of a frame, changed after it was put together. */
export function bent(frame: Frame, change: (bytes: Buffer) => void): Buffer {
  const bytes = encodeFrame(frame);
  change(bytes);
  return bytes;
}

export const withBody = (frame: Frame, change: (body: Buffer) => Buffer): Frame => ({
  ...frame,
  body: change(Buffer.from(frame.body)),
});

/** The body changed in place. */
export const poked = (frame: Frame, change: (body: Buffer) => void): Frame =>
  withBody(frame, (body) => {
    change(body);
    return body;
  });

/** Changes the last byte: in a record, that of the payload. */
export const lastByte = (body: Buffer) => {
  body[body.length - 1]! ^= 1;
};

/** A record with other fields: id, key, source, encoding, length of the payload, payload. */
export const refilled = (frame: Frame, change: (fields: (Buffer | null)[]) => (Uint8Array | null)[]): Frame =>
  withBody(frame, (body) => encodeTuple(change(tupleFields(body, 0))));

/** A frame with a grain that nobody asked for. */
export const inventedGrain = (sequence: number, id: string, key = "invented", payload = "invented"): Frame => ({
  type: "grains",
  sequence,
  entries: 1,
  body: encodeTuple([
    uuidBytes(id),
    Buffer.from(key),
    Buffer.from(""),
    Buffer.from("raw"),
    int8(payload.length),
    Buffer.from(payload),
  ]),
});

/** A record that says that so many bytes follow in chunks. */
export const inventedLarge = (frame: Frame, bytes: number): Frame =>
  refilled(frame, ([id, key, source, encoding]) => [id!, key!, source!, encoding!, int8(bytes), null]);

/** A frame that says that it is compressed, and inflates to so many bytes. */
export function packed(frame: Frame, body: Uint8Array, declared: number): Buffer {
  const bytes = encodeFrame({ ...frame, body: Buffer.from(body) });
  bytes[1]! |= compressedFlag;
  bytes.writeUInt32BE(declared, 12);
  return bytes;
}

export const squeezed = (body: Buffer): Buffer =>
  brotliCompressSync(body, { params: { [constants.BROTLI_PARAM_QUALITY]: 1 } });

/** So many zeros, compressed. */
export const bomb = (bytes: number): Buffer => squeezed(Buffer.alloc(bytes));

export const swappedEntries = (frame: Frame): Frame =>
  withBody(frame, (body) =>
    Buffer.concat([
      body.subarray(listEntryBytes, 2 * listEntryBytes),
      body.subarray(0, listEntryBytes),
      body.subarray(2 * listEntryBytes),
    ]),
  );

/** A list with one more entry at its end. */
export const longerList = (frame: Frame, id: string): Frame => ({
  ...withBody(frame, (body) => Buffer.concat([body, uuidBytes(id), Buffer.alloc(listEntryBytes - idBytes, 7)])),
  entries: frame.entries + 1,
});

export const ofNobody = "ffffffff-ffff-4fff-bfff-ffffffffffff";
/** A grain that the slices `many` and `few` of both primaries have. */
export const ofAnother = (n: number): string => `00000000-0000-4000-a000-${String(n).padStart(12, "0")}`;

/** A record of six fields: where its parts are. */
export const at = { fields: 0, id: 6, keyLength: 22 };

/** The second frame of grains, or another. */
export const grain = (change: (passing: Passing) => Sent[], n = 1) => instead("grains", n, change);
export const inOrder = (change: (passing: Passing) => Sent[], n = 1) => insteadInOrder("grains", n, change);

type NewMove = (name: string, script: Pick<PrimaryMove, "session">, exit?: number) => PrimaryMove;
const moveOn =
  (slice: SliceName): NewMove =>
  (name, script, exit = 4) => ({ name, slice, exit, ...script });
export const few = moveOn("few");
export const fresh = moveOn("fresh");
export const file = moveOn("file");
export const many = moveOn("many");
