/** A partner in one process with many others: the real session over a real websocket, with a copy in memory that is ids and digests only. */
import { createHash } from "node:crypto";
import { SandpiperError } from "../../src/errors.ts";
import { uuidText } from "../../src/ids.ts";
import { digestBytes, idBytes, listEntryBytes, sliceHash, sortMetadata, xxh64 } from "../../src/slices/rules/hash.ts";
import { Cells } from "../../src/slices/rules/sketch.ts";
import { Tally } from "../../src/slices/rules/tally.ts";
import { drive } from "../../src/sync/protocol/effects.ts";
import { type GrainRecord, readRecords } from "../../src/sync/protocol/frames.ts";
import { plainRun } from "../../src/sync/protocol/run-options.ts";
import type { LocalSlice, SecondaryFacts, SecondaryPort } from "../../src/sync/protocol/secondary-port.ts";
import { secondarySession } from "../../src/sync/protocol/secondary-session.ts";
import { unpack } from "../../src/sync/transport/compression.ts";
import { connectChannel } from "../../src/sync/transport/connect.ts";
import { fetchOffers, login } from "../../src/sync/transport/primary-client.ts";

/** A slice, as the mark of each grain by its id. Never changed: many partners may share one. */
export type Copy = LocalSlice & { marks: ReadonlyMap<string, Buffer> };

export class MemoryPartner {
  readonly copies: Map<string, Copy>;
  #etag: string | null = null;

  constructor(
    readonly url: string,
    readonly primaryId: string,
    readonly apiKey: string,
    copies: Iterable<Copy>,
  ) {
    this.copies = new Map([...copies].map((copy) => [copy.id, copy]));
  }

  /** Logs in, asks for the subscriptions and syncs them. @throws whatever goes wrong, with any slice. */
  async sync(): Promise<void> {
    const traffic = { in: 0, out: 0 };
    const credentials = await login({ url: this.url, mayBePrivate: true }, this.apiKey, traffic);
    this.#etag = (
      await fetchOffers({ url: this.url, mayBePrivate: true }, credentials, this.#etag, 1000, traffic)
    ).etag;
    const facts: SecondaryFacts = {
      runId: crypto.randomUUID(),
      options: plainRun,
      primaryId: this.primaryId,
      slices: [...this.copies.values()],
      maxGrains: 1_000_000,
      maxGrainBytes: 1_000_000,
      program: "bench/1",
      unconfirmed: 0,
    };
    const channel = await connectChannel(
      { url: this.url, mayBePrivate: true },
      credentials.token,
      1000,
      30_000,
      traffic,
    );
    try {
      await drive(secondarySession(facts), this.#port(channel));
    } finally {
      await channel.close(1000);
    }
  }

  #port(channel: Awaited<ReturnType<typeof connectChannel>>): SecondaryPort {
    let staged: [string, Buffer][] = [];
    const copyOf = (slice: LocalSlice) => this.copies.get(slice.id)!;
    return {
      receive: async () => {
        const incoming = await channel.receive(60_000);
        return "binary" in incoming ? { binary: await unpack(incoming.binary) } : incoming;
      },
      send: (message) => channel.send(JSON.stringify(message)),
      sendFrame: (frame) => channel.send(frame),
      queued: async () => {},
      readOutbox: async () => [],
      settle: async () => {},
      readLocalList: async (slice) => Buffer.concat(sorted(copyOf(slice).marks).map(listEntry)),
      readLocalCells: async (slice, length) => {
        const cells = new Cells(length);
        for (const mark of copyOf(slice).marks.values()) cells.toggle(mark, 0, 1);
        return cells;
      },
      recount: async ({ hash, count }) => ({ hash, count, wasRight: true }),
      openStage: async () => {
        staged = [];
        return { after: null, grains: 0, bytes: 0, large: null };
      },
      stageGrains: async (body, entries) => {
        for (const record of readRecords({ entries, body }))
          staged.push([uuidText(body.subarray(record.idAt)), markOf(body, record)]);
      },
      stageChunk: async () => {
        throw new Error("a grain is larger than any that was published");
      },
      closeStage: async () => {},
      apply: async (slice, { content, removed }) => {
        const marks = new Map(copyOf(slice).marks);
        for (let at = 0; at < removed.length; at += idBytes) marks.delete(uuidText(removed.subarray(at, at + idBytes)));
        for (const [id, mark] of staged) marks.set(id, mark);
        const tally = new Tally();
        for (const mark of marks.values()) tally.add(mark);
        const figures = tally.figures();
        const hash = sliceHash(figures, sortMetadata(content.metadata));
        if (hash !== content.hash || figures.count !== content.count)
          throw new SandpiperError("verification", "not what was declared");
        this.copies.set(slice.id, { ...copyOf(slice), marks, hash, count: figures.count });
      },
      breathe: async () => {},
      elapsedMs: async () => 0,
      finished: async ({ error }) => {
        if (error !== undefined) throw error;
        return true;
      },
    };
  }
}

const sorted = (marks: ReadonlyMap<string, Buffer>): Buffer[] =>
  [...marks].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, mark]) => mark);

function listEntry(mark: Buffer): Buffer {
  const entry = Buffer.alloc(listEntryBytes);
  mark.copy(entry, 0, 0, idBytes);
  entry.writeBigUInt64BE(xxh64(mark.subarray(idBytes, idBytes + digestBytes)), idBytes);
  return entry;
}

/** In a record, key, source and encoding stand as the digest wants them; of the payload's length, the eight bytes without their own length. */
function markOf(body: Buffer, { idAt, end, payloadBytes }: GrainRecord): Buffer {
  const payload = end - payloadBytes;
  const id = body.subarray(idAt, idAt + idBytes);
  const length = body.subarray(payload - 12, payload - 4);
  const digest = createHash("sha256")
    .update(id)
    .update(body.subarray(idAt + idBytes, payload - 16))
    .update(length)
    .update(body.subarray(payload, end))
    .digest();
  return Buffer.concat([id, digest, length]);
}
