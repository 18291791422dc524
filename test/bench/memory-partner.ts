/** A partner in one process with many others: the real session over a real websocket, with a copy in memory that is ids and digests only. */
import { createHash } from "node:crypto";
import { SandpiperError } from "../../src/errors.ts";
import { uuidText } from "../../src/ids.ts";
import {
  grainSymbol,
  hashUnitBytes,
  idBytes,
  listEntryBytes,
  SliceHasher,
  sortMetadata,
} from "../../src/slices/rules/hash.ts";
import { drive } from "../../src/sync/protocol/effects.ts";
import { type GrainRecord, readRecords } from "../../src/sync/protocol/frames.ts";
import { plainRun } from "../../src/sync/protocol/run-options.ts";
import type { LocalSlice, SecondaryFacts, SecondaryPort } from "../../src/sync/protocol/secondary-port.ts";
import { secondarySession } from "../../src/sync/protocol/secondary-session.ts";
import { unpack } from "../../src/sync/transport/compression.ts";
import { connectChannel } from "../../src/sync/transport/connect.ts";
import { fetchOffers, login } from "../../src/sync/transport/primary-client.ts";

/** A slice, as a hash unit (id and digest) for each grain by its id. Never changed: many partners may share one. */
export type Copy = LocalSlice & { units: ReadonlyMap<string, Buffer> };

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
      readLocalList: async (slice) => Buffer.concat(sorted(copyOf(slice).units).map(listEntry)),
      openStage: async () => {
        staged = [];
        return { after: null, grains: 0, bytes: 0, large: null };
      },
      stageGrains: async (body, entries) => {
        for (const record of readRecords({ entries, body }))
          staged.push([uuidText(body.subarray(record.idAt)), unitOf(body, record)]);
      },
      stageChunk: async () => {
        throw new Error("a grain is larger than any that was published");
      },
      closeStage: async () => {},
      apply: async (slice, { content, removed }) => {
        const units = new Map(copyOf(slice).units);
        for (let at = 0; at < removed.length; at += idBytes) units.delete(uuidText(removed.subarray(at, at + idBytes)));
        for (const [id, unit] of staged) units.set(id, unit);
        const hasher = new SliceHasher();
        hasher.add(Buffer.concat(sorted(units)));
        const { hash, count } = hasher.finish(sortMetadata(content.metadata));
        if (hash !== content.hash || count !== content.count)
          throw new SandpiperError("verification", "not what was declared");
        this.copies.set(slice.id, { ...copyOf(slice), units, hash, count });
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

const sorted = (units: ReadonlyMap<string, Buffer>): Buffer[] =>
  [...units].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, unit]) => unit);

/** The unit of the slice hash, from an id and a digest. */
export function hashUnit(id: Buffer, digest: Buffer): Buffer {
  const unit = Buffer.alloc(hashUnitBytes);
  unit.writeUInt32BE(id.length, 0);
  id.copy(unit, 4);
  unit.writeUInt32BE(digest.length, 4 + id.length);
  digest.copy(unit, 8 + id.length);
  return unit;
}

function listEntry(unit: Buffer): Buffer {
  const entry = Buffer.alloc(listEntryBytes);
  const id = unit.subarray(4, 4 + idBytes);
  id.copy(entry);
  entry.writeBigUInt64BE(grainSymbol(Buffer.concat([id, unit.subarray(8 + idBytes)])), idBytes);
  return entry;
}

/** In a record, key, source and encoding stand as the digest wants them; of the payload's length, the eight bytes without their own length. */
function unitOf(body: Buffer, { idAt, end, payloadBytes }: GrainRecord): Buffer {
  const payload = end - payloadBytes;
  const digest = createHash("sha256")
    .update(body.subarray(idAt + idBytes, payload - 16))
    .update(body.subarray(payload - 12, payload - 4))
    .update(body.subarray(payload, end))
    .digest();
  return hashUnit(body.subarray(idAt, idAt + idBytes), digest);
}
