/**
 * Staging: grains that arrive are written by COPY in batches that are committed, so that what has arrived survives
 * whatever happens next. The slice's own key is put in here and never taken from the peer.
 */
import { once } from "node:events";
import type { Writable } from "node:stream";
import { isDiskFull, type Session, translate } from "../database.ts";
import { chunkBytes, type SliceKey } from "../slices/slice.ts";
import { copyHeader, copyTrailer, encodeTuple, int4, int8, tupleEnd } from "../slices/tuples.ts";
import { step } from "../step.ts";
import type { StagedSoFar } from "./secondary-port.ts";

/** Bytes after which a batch is committed. */
const batchBytes = 2 * chunkBytes;

type Table = "staged_grains" | "staged_chunks";
const columns: Record<Table, string> = {
  staged_grains: "slice_key, id, grain_key, source, encoding, payload_bytes, payload",
  staged_chunks: "slice_key, grain_id, seq, data",
};

/** Deletes whatever is staged for a slice. */
export async function clearStage(session: Session, key: SliceKey): Promise<void> {
  await session.run("DELETE FROM staged_chunks WHERE slice_key = $1", [key]);
  await session.run("DELETE FROM staged_grains WHERE slice_key = $1", [key]);
  await session.run("DELETE FROM staging WHERE slice_key = $1", [key]);
}

/** Deletes what is staged for a slice and, when nothing else is staged, gives its disk space back at once. */
async function discardStage(session: Session, key: SliceKey): Promise<void> {
  await session.transaction(async (tx) => {
    await tx.run("SET LOCAL lock_timeout = '1s'");
    await tx.run("DELETE FROM staging WHERE slice_key = $1", [key]);
    const others = await tx.one("SELECT 1 FROM staging LIMIT 1");
    if (others === undefined) await tx.run("TRUNCATE staged_grains, staged_chunks");
    else await clearStage(tx, key);
  });
}

/** Finds what is staged for (slice, hash); what was staged for another hash is deleted. */
export async function openStage(session: Session, key: SliceKey, hash: string): Promise<StagedSoFar> {
  return session.transaction(async (tx) => {
    const old = await tx.one<{ hash: string }>("SELECT hash FROM staging WHERE slice_key = $1 FOR UPDATE", [key]);
    if (old !== undefined && old.hash !== hash) await clearStage(tx, key);
    await tx.run(
      "INSERT INTO staging (slice_key, hash) VALUES ($1, $2) ON CONFLICT (slice_key) DO UPDATE SET updated_at = now()",
      [key, hash],
    );
    // A large grain may have been cut off among its chunks: it is fetched again.
    await tx.run(
      `WITH cut AS (DELETE FROM staged_grains g WHERE slice_key = $1 AND payload IS NULL AND payload_bytes <>
         (SELECT coalesce(sum(octet_length(data)), 0) FROM staged_chunks c WHERE c.slice_key = $1 AND c.grain_id = g.id) RETURNING id)
       DELETE FROM staged_chunks c USING cut WHERE c.slice_key = $1 AND c.grain_id = cut.id`,
      [key],
    );
    const row = await tx.one<{ grains: number; bytes: number }>(
      "SELECT count(*) AS grains, coalesce(sum(payload_bytes), 0)::bigint AS bytes FROM staged_grains WHERE slice_key = $1",
      [key],
    );
    const last = await tx.one<{ id: string }>(
      "SELECT id FROM staged_grains WHERE slice_key = $1 ORDER BY id DESC LIMIT 1",
      [key],
    );
    return {
      grains: row!.grains,
      bytes: row!.bytes,
      after: last === undefined ? null : Buffer.from(last.id.replaceAll("-", ""), "hex"),
    };
  });
}

/** Writes the grains of one slice into staging; nothing else may use the session until it is closed. */
export class Stage {
  readonly #session: Session;
  readonly #key: SliceKey;
  readonly #prefix: Buffer;
  #copy: { table: Table; stream: Writable; done: Promise<unknown> } | undefined;
  #uncommitted = 0;
  #failure: unknown;

  constructor(session: Session, key: SliceKey) {
    this.#session = session;
    this.#key = key;
    // Seven fields, the first of them ours; the record's own six follow.
    this.#prefix = encodeTuple([int8(key)]);
    this.#prefix.writeUInt16BE(7, 0);
  }

  /** Stages whole, checked grain records. */
  async grains(body: Buffer, entries: number): Promise<void> {
    const out = Buffer.allocUnsafe(body.length + entries * (this.#prefix.length - 2));
    let to = 0;
    for (let start = 0; start < body.length; ) {
      const end = tupleEnd(body, start);
      to += this.#prefix.copy(out, to);
      to += body.copy(out, to, start + 2, end);
      start = end;
    }
    await this.#write("staged_grains", out);
    step("s.stage");
    if (this.#uncommitted >= batchBytes) await this.#commit();
  }

  /** Stages a chunk of the large grain that was staged last. */
  async chunk(grainId: Buffer, sequence: number, data: Buffer): Promise<void> {
    await this.#write("staged_chunks", encodeTuple([int8(this.#key), grainId, int4(sequence), data]));
    step("s.stage");
    if (this.#uncommitted >= batchBytes) await this.#commit();
  }

  /** Commits what is left. */
  async close(): Promise<void> {
    await this.#commit();
  }

  /**
   * When the stream ended early: commits what has arrived after all, or else rolls back, so that the session can be used. What
   * does not fit the disk is given up whole, or it would keep others from fitting.
   */
  async keep(): Promise<void> {
    if (this.#failure === undefined) await this.#commit().catch(() => {});
    if (this.#failure === undefined) return;
    await this.#session.run("ROLLBACK").catch(() => {});
    if (isDiskFull(this.#failure)) await discardStage(this.#session, this.#key).catch(() => {});
  }

  async #write(table: Table, bytes: Buffer): Promise<void> {
    if (this.#copy?.table !== table) {
      // What is staged need not survive a crash of the database server, only ours: no wait for its disk.
      if (this.#copy === undefined) await this.#session.run("BEGIN; SET LOCAL synchronous_commit = off");
      else await this.#endCopy();
      const stream = this.#session.copyIn(`COPY ${table} (${columns[table]}) FROM STDIN (FORMAT binary)`);
      const done = once(stream, "finish");
      done.catch(() => {});
      stream.on("error", () => {}); // it is told by `done`; later ones have nobody to tell
      this.#copy = { table, stream, done };
      stream.write(copyHeader);
    }
    const { stream, done } = this.#copy;
    this.#uncommitted += bytes.length;
    if (!stream.write(bytes)) await this.#settled(Promise.race([once(stream, "drain"), done]));
  }

  /** Waits for the database, and remembers how it failed: the copy is broken from then on. */
  async #settled(work: Promise<unknown>): Promise<void> {
    try {
      await work;
    } catch (error) {
      this.#failure ??= error;
      throw translate(error);
    }
  }

  async #endCopy(): Promise<void> {
    if (this.#copy === undefined) return;
    const { stream, done } = this.#copy;
    this.#copy = undefined;
    stream.end(copyTrailer);
    await this.#settled(done);
  }

  async #commit(): Promise<void> {
    if (this.#copy === undefined) return;
    await this.#endCopy();
    this.#uncommitted = 0;
    await this.#settled(this.#session.run("COMMIT"));
  }
}
