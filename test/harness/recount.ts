/** What a slice says of its grains (PROTOCOL.md, "Hash of a slice", "Coded symbols"), written down a second time, slowly: with big numbers, and nothing carried forward. */
import { slowXxh64 } from "./slow-xxh64.ts";

/** A grain as its row has it. */
export interface Counted {
  id: Buffer;
  digest: Buffer;
  /** Payload bytes. */
  bytes: number;
}

const cellBytes = 22;
const numberOf = (bytes: Buffer) => (bytes.length === 0 ? 0n : BigInt(`0x${bytes.toString("hex")}`));

/** The sum of digests, 64 hex digits. */
export const sumOf = (grains: Iterable<Pick<Counted, "digest">>): string => {
  let sum = 0n;
  for (const { digest } of grains) sum += numberOf(digest);
  return BigInt.asUintN(256, sum).toString(16).padStart(64, "0");
};

/** The cells that an id is in, of the first `length`. */
export function placesOf(id: Buffer, length: number): number[] {
  const places: number[] = [];
  let state = slowXxh64(id);
  if (state === 0n) state = 0x9e3779b97f4a7c15n;
  for (let i = 0; i < length; ) {
    places.push(i);
    state = BigInt.asUintN(64, state ^ (state << 13n));
    state ^= state >> 7n;
    state = BigInt.asUintN(64, state ^ (state << 17n));
    const u = (Number(state >> 32n) + 1) / 2 ** 32;
    i += Math.max(1, Math.ceil((i + 1.5) * (1 / Math.sqrt(u) - 1)));
  }
  return places;
}

/** The first `length` cells of a set of ids. */
export function cellsOf(ids: Iterable<Buffer>, length: number): Buffer {
  const cells = Array.from({ length }, () => ({ id: 0n, check: 0n, count: 0 }));
  for (const id of ids) {
    const check = BigInt.asUintN(32, slowXxh64(id));
    for (const place of placesOf(id, length)) {
      const cell = cells[place]!;
      cell.id ^= numberOf(id);
      cell.check ^= check;
      cell.count++;
    }
  }
  const bytes = Buffer.alloc(length * cellBytes);
  for (const [i, { id, check, count }] of cells.entries()) {
    bytes.write(id.toString(16).padStart(32, "0"), i * cellBytes, "hex");
    bytes.writeUInt32BE(Number(check), i * cellBytes + 16);
    bytes.writeUInt16BE(count % 65_536, i * cellBytes + 20);
  }
  return bytes;
}

/** What is wrong with what a slice says of its grains; undefined when nothing is. @param due how many cells its sketch must have at least. */
export function misstated(
  says: { sum: Buffer; count: number; bytes: number; sketch: Buffer },
  grains: readonly Counted[],
  due: number,
): string | undefined {
  if (says.count !== grains.length) return `it says ${says.count} grains, and has ${grains.length}`;
  const bytes = grains.reduce((all, grain) => all + grain.bytes, 0);
  if (says.bytes !== bytes) return `it says ${says.bytes} bytes, and has ${bytes}`;
  if (says.sum.toString("hex") !== sumOf(grains)) return "its sum is not that of its grains";
  const cells = says.sketch.length / cellBytes;
  if (cells < due) return `its sketch has ${cells} cells, and should have ${due}`;
  const ids = grains.map(({ id }) => id);
  return says.sketch.equals(cellsOf(ids, cells)) ? undefined : "its sketch is not that of its grains";
}
