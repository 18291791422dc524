/** Both sessions of a sync, unchanged, against each other in memory: no socket, no database. */
import { createHash } from "node:crypto";
import { SandpiperError } from "../../../src/errors.ts";
import { type ContentKey, type SliceKey, uuidBytes, uuidText } from "../../../src/ids.ts";
import { type Metadata, sliceHash, sortMetadata, xxh64 } from "../../../src/slices/rules/hash.ts";
import { Cells } from "../../../src/slices/rules/sketch.ts";
import { chunkBytes } from "../../../src/slices/rules/slice.ts";
import { drive } from "../../../src/sync/protocol/effects.ts";
import { readRecords } from "../../../src/sync/protocol/frames.ts";
import type { Confirm, Incoming, PrimaryMessage, SecondaryMessage } from "../../../src/sync/protocol/messages.ts";
import type { PrimaryPort, SliceView } from "../../../src/sync/protocol/primary-port.ts";
import { primarySession } from "../../../src/sync/protocol/primary-session.ts";
import { plainRun, type RunOptions } from "../../../src/sync/protocol/run-options.ts";
import type {
  LocalSlice,
  SecondaryFacts,
  SecondaryPort,
  SliceResult,
  StagedSoFar,
} from "../../../src/sync/protocol/secondary-port.ts";
import { secondarySession } from "../../../src/sync/protocol/secondary-session.ts";
import { sumOf } from "../../harness/recount.ts";
import { encodeTuple, int8 } from "../../harness/tuples.ts";

export interface MemoryGrain {
  id: string;
  key: string;
  payload: Buffer;
}

/** A slice in memory: grains by id, metadata, and the flags that a primary has. */
export class MemorySlice {
  readonly grains = new Map<string, MemoryGrain>();
  metadata: Metadata = [];
  allowSync = true;
  permitted = true;
  /** What it says of itself, where that is not what its grains come to: the database was damaged. */
  says: { hash: string; count: number } | undefined;

  constructor(
    readonly id: string,
    grains: MemoryGrain[] = [],
  ) {
    for (const grain of grains) this.grains.set(grain.id, grain);
  }

  sorted(): MemoryGrain[] {
    return [...this.grains.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
  }

  static digest(grain: MemoryGrain): Buffer {
    return createHash("sha256")
      .update(uuidBytes(grain.id))
      .update(grain.key)
      .update("\0")
      .update(grain.payload)
      .digest();
  }

  hash(): string {
    const digests = this.sorted().map((grain) => ({ digest: MemorySlice.digest(grain) }));
    return sliceHash({ sum: Buffer.from(sumOf(digests), "hex"), count: digests.length }, this.metadata);
  }

  view(): SliceView {
    const bytes = this.sorted().reduce((sum, grain) => sum + grain.payload.length, 0);
    const { hash, count } = this.stated();
    return { id: this.id, allowSync: this.allowSync, hash, count, bytes };
  }

  /** Hash and count, as it says. */
  stated(): { hash: string; count: number } {
    return this.says ?? { hash: this.hash(), count: this.grains.size };
  }

  list(): Buffer {
    return Buffer.concat(
      this.sorted().map((grain) => {
        const entry = Buffer.alloc(24);
        uuidBytes(grain.id).copy(entry);
        entry.writeBigUInt64BE(xxh64(MemorySlice.digest(grain)), 16);
        return entry;
      }),
    );
  }

  cells(length: number): Cells {
    const cells = new Cells(length);
    for (const { id } of this.grains.values()) cells.toggle(uuidBytes(id), 0, 1);
    return cells;
  }

  /** @returns whether it had said what it is. */
  recount(): boolean {
    const wasRight = this.says === undefined;
    this.says = undefined;
    return wasRight;
  }
}

/** A grain record as it travels: a tuple of a COPY. */
export const record = (grain: MemoryGrain): Buffer =>
  encodeTuple([
    uuidBytes(grain.id),
    Buffer.from(grain.key),
    Buffer.from("source"),
    Buffer.from("raw"),
    int8(grain.payload.length),
    grain.payload.length > chunkBytes ? null : grain.payload,
  ]);

/** A message on its way, and taken off it. */
export const said = (message: object | string): Incoming => ({
  text: Buffer.from(typeof message === "string" ? message : JSON.stringify(message)),
});
// biome-ignore lint/suspicious/noExplicitAny: whatever was said
export const heard = ({ text }: { text: Buffer }): any => JSON.parse(text.toString());

/** A slice of a secondary that has no database. */
export const localSlice = (slice: Omit<LocalSlice, "key" | "contentKey" | "subscriptionId">): LocalSlice => ({
  ...slice,
  key: 0 as SliceKey,
  contentKey: 0 as ContentKey,
  subscriptionId: slice.id,
});

/** One direction of a wire. `tamper` may drop, change or add what passes. */
class Pipe {
  readonly #queue: Incoming[] = [];
  #waiting: ((incoming: Incoming) => void) | undefined;
  #fail: ((error: Error) => void) | undefined;
  #closed: Error | undefined;
  readonly log: Incoming[] = [];
  tamper: (incoming: Incoming, n: number) => Incoming[] = (incoming) => [incoming];

  push(incoming: Incoming): void {
    for (const passed of this.tamper(incoming, this.log.length)) {
      this.log.push(passed);
      const waiting = this.#waiting;
      this.#waiting = undefined;
      if (waiting) waiting(passed);
      else this.#queue.push(passed);
    }
  }

  close(error: Error): void {
    this.#closed = error;
    this.#fail?.(error);
  }

  receive(): Promise<Incoming> {
    const queued = this.#queue.shift();
    if (queued !== undefined) return Promise.resolve(queued);
    if (this.#closed) return Promise.reject(this.#closed);
    return new Promise((resolve, reject) => {
      this.#waiting = resolve;
      this.#fail = reject;
    });
  }
}

export class MemoryPair {
  readonly toSecondary = new Pipe();
  readonly toPrimary = new Pipe();
  readonly results: SliceResult[] = [];
  readonly confirms: Confirm[] = [];
  /** Why the primary could not serve a slice. */
  readonly failures: string[] = [];
  outbox: Confirm[] = [];
  /** Grains per read at the primary: small, so that several reads are needed. */
  readSize = 3;
  /** Called before every look at a slice: a place to change things in the middle. */
  onLook: (n: number) => void = () => {};
  #looks = 0;

  constructor(
    readonly primary: Map<string, MemorySlice>,
    readonly secondary: Map<string, MemorySlice>,
  ) {}

  async sync(options: Partial<RunOptions> = {}, maxGrains = 1000): Promise<void> {
    const slices = [...this.secondary.values()].map((slice) =>
      localSlice({
        id: slice.id,
        name: slice.id.slice(0, 4),
        subscription: slice.id.slice(0, 4),
        ...slice.stated(),
      }),
    );
    const facts: SecondaryFacts = {
      runId: "00000000-0000-4000-8000-00000000000a",
      options: { ...plainRun, ...options },
      primaryId: serverId,
      slices,
      maxGrains,
      maxGrainBytes: 10 * chunkBytes,
      program: "test/1",
      unconfirmed: 0,
    };
    const serving = drive(primarySession({ serverId, companyId: serverId, maxSlices: 100 }), this.#primaryPort()).catch(
      (error) => {
        this.toSecondary.close(error);
        throw error;
      },
    );
    serving.catch(() => {});
    try {
      await drive(secondarySession(facts), this.#secondaryPort());
    } catch (error) {
      this.toPrimary.close(new SandpiperError("network", "gone"));
      await serving.catch(() => {});
      throw error;
    }
    await serving;
  }

  #view(id: string): SliceView | undefined {
    this.onLook(++this.#looks);
    const slice = this.primary.get(id);
    return slice?.permitted ? slice.view() : undefined;
  }

  #primaryPort(): PrimaryPort {
    const read = async <T>(id: string, nothing: T, work: (slice: MemorySlice) => T) => {
      const view = this.#view(id);
      return { view, data: view === undefined ? nothing : work(this.primary.get(id)!) };
    };
    const after = (slice: MemorySlice, last: Buffer | null) =>
      slice.sorted().filter((grain) => last === null || grain.id > uuidText(last));
    return {
      receive: () => this.toPrimary.receive(),
      send: async (message: PrimaryMessage) => this.toSecondary.push(said(message)),
      sendFrame: async (frame) => this.toSecondary.push({ binary: frame }),
      useCompression: async () => {},
      look: async (ids) => ids.flatMap((id) => this.#view(id) ?? []),
      readMetadata: (id) => read<Metadata>(id, [], (slice) => slice.metadata),
      readList: (id, last) =>
        read<Buffer>(id, Buffer.alloc(0), (slice) => {
          const whole = slice.list();
          const skip = (slice.grains.size - after(slice, last).length) * 24;
          return whole.subarray(skip, skip + this.readSize * 24);
        }),
      readCells: (id, length) => read<Cells>(id, new Cells(0), (slice) => slice.cells(length)),
      recount: async (id) => {
        const wasRight = this.primary.get(id)?.recount() ?? true;
        return { view: this.#view(id), data: { wasRight } };
      },
      readGrains: (id, last, wanted) =>
        read(id, { bytes: Buffer.alloc(0), ends: [] as number[] }, (slice) => {
          const ids =
            wanted === null
              ? undefined
              : new Set(
                  Array.from({ length: wanted.length / 16 }, (_, i) => uuidText(wanted.subarray(i * 16, i * 16 + 16))),
                );
          const records = after(slice, last)
            .filter((grain) => ids?.has(grain.id) ?? true)
            .slice(0, this.readSize)
            .map(record);
          let end = 0;
          return { bytes: Buffer.concat(records), ends: records.map((bytes) => (end += bytes.length)) };
        }),
      readChunk: (id, grainId, sequence) =>
        read<Buffer>(id, Buffer.alloc(0), (slice) =>
          slice.grains.get(uuidText(grainId))!.payload.subarray(sequence * chunkBytes, (sequence + 1) * chunkBytes),
        ),
      breathe: async () => {},
      failed: async (id, error) => {
        this.failures.push(`${id}: ${error.message}`);
      },
      recordHeld: async () => {},
      record: async (confirm) => {
        this.confirms.push(confirm);
      },
    };
  }

  #secondaryPort(): SecondaryPort {
    let staged: MemoryGrain[] = [];
    let open = false;
    // In production the stage is a COPY on the one database session: nothing else may use it meanwhile.
    const idle = () => {
      if (open) throw new Error("the stage is still open");
    };
    return {
      receive: () => this.toSecondary.receive(),
      send: async (message: SecondaryMessage) => this.toPrimary.push(said(message)),
      sendFrame: async (frame) => this.toPrimary.push({ binary: frame }),
      readOutbox: async () => [...this.outbox],
      settle: async (runId, sliceId) => {
        this.outbox = this.outbox.filter((confirm) => confirm.run_id !== runId || confirm.id !== sliceId);
      },
      readLocalList: async (slice) => {
        idle();
        const list = this.secondary.get(slice.id)!.list();
        if (list.length !== slice.count * 24) throw new SandpiperError("verification", "not as many as it says");
        return list;
      },
      readLocalCells: async (slice, length) => {
        idle();
        return this.secondary.get(slice.id)!.cells(length);
      },
      recount: async (slice) => {
        idle();
        const mine = this.secondary.get(slice.id)!;
        const wasRight = mine.recount();
        return { ...mine.stated(), wasRight };
      },
      openStage: async (): Promise<StagedSoFar> => {
        idle();
        open = true;
        staged = [];
        return { after: null, grains: 0, bytes: 0, large: null };
      },
      stageGrains: async (body, entries) => {
        for (const { idAt, start, end, payloadBytes, chunked } of readRecords({ entries, body })) {
          const keyLength = body.readUInt32BE(start + 22);
          const key = body.toString("utf8", start + 26, start + 26 + keyLength);
          staged.push({
            id: uuidText(body.subarray(idAt)),
            key,
            payload: chunked ? Buffer.alloc(0) : Buffer.from(body.subarray(end - payloadBytes, end)),
          });
        }
      },
      stageChunk: async (_id, _sequence, data) => {
        const last = staged.at(-1)!;
        last.payload = Buffer.concat([last.payload, data]);
      },
      closeStage: async () => {
        open = false;
      },
      apply: async (slice, change, confirm) => {
        idle();
        const next = new MemorySlice(slice.id, [...this.secondary.get(slice.id)!.grains.values()]);
        for (let at = 0; at < change.removed.length; at += 16)
          next.grains.delete(uuidText(change.removed.subarray(at, at + 16)));
        for (const grain of staged) next.grains.set(grain.id, grain);
        next.metadata = sortMetadata(change.content.metadata);
        // What is carried forward from what is wrong is wrong.
        const wrong = this.secondary.get(slice.id)!.says !== undefined;
        if (wrong || next.hash() !== change.content.hash || next.grains.size !== change.content.count)
          throw new SandpiperError("verification", "not what was declared");
        this.secondary.set(slice.id, next);
        this.outbox.push(confirm);
      },
      breathe: async () => {},
      elapsedMs: async () => 0,
      queued: async () => {},
      finished: async (result) => {
        this.results.push(result);
        return true;
      },
    };
  }
}

const serverId = "00000000-0000-4000-8000-000000000001";
