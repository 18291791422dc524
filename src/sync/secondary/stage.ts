/**
 * Staging: grains that arrive are written by COPY under a content key of their own, which no slice shows yet, in batches
 * that are committed, so that what has arrived survives whatever happens next. The key is set here and never taken from the peer.
 */
import type { Session } from "../../database/database.ts";
import { isDiskFull, translate, violatedConstraint } from "../../database/database-errors.ts";
import { stageLock } from "../../database/locks.ts";
import { asEver } from "../../database/session-settings.ts";
import { vacuumOnFullDisk } from "../../database/vacuum-store.ts";
import { asSandpiperError, SandpiperError } from "../../errors.ts";
import { type CompanyId, type ContentKey, type SliceKey, uuidText } from "../../ids.ts";
import { payloads } from "../../slices/payloads/payloads.ts";
import { chunkBytes } from "../../slices/rules/slice.ts";
import { step } from "../../step.ts";
import { refused } from "../protocol/guards.ts";
import type { StagedSoFar } from "../protocol/secondary-port.ts";

/** Bytes after which a batch is committed: what a crash costs at most, besides what is on its way. */
const batchBytes = chunkBytes;

const notStaging = `/* stageEnd */ ${asEver("synchronous_commit")}; RESET sandpiper.content_key`;

/** Deletes whatever is staged for a slice; in a transaction of the caller's. */
export async function clearStage(tx: Session, key: SliceKey): Promise<void> {
  const [stage] = await tx.query<{ contentKey: ContentKey }>(
    `/* clearStage */ DELETE FROM staging WHERE slice_key = $1 RETURNING content_key AS "contentKey"`,
    [key],
  );
  if (stage !== undefined) await payloads.clear(tx, stage.contentKey);
}

/** Deletes what is staged for slices of a primary that want it no more: those that are not subscribed, and those that are `current`. */
export async function sweepStages(session: Session, companyId: CompanyId, current: readonly string[]): Promise<void> {
  const stages = await session.query<{ key: SliceKey }>(
    `/* sweepStages */ SELECT g.slice_key AS key FROM staging g JOIN slices s USING (slice_key) WHERE s.company_id = $1 AND (s.id = ANY ($2::uuid[]) OR NOT EXISTS
       (SELECT 1 FROM subscriptions u WHERE u.slice_key = s.slice_key AND u.active AND u.offered AND u.withdrawn_at IS NULL OFFSET 0))`,
    [companyId, current],
  );
  for (const { key } of stages) await session.transaction((tx) => clearStage(tx, key));
}

/** The slices of a primary for which something is staged. */
export async function readStaged(session: Session, companyId: CompanyId): Promise<Set<SliceKey>> {
  const rows = await session.query<{ key: SliceKey }>(
    "/* readStaged */ SELECT g.slice_key AS key FROM staging g JOIN slices s USING (slice_key) WHERE s.company_id = $1",
    [companyId],
  );
  return new Set(rows.map(({ key }) => key));
}

/** Finds what is staged for (slice, hash); what was staged for another hash is deleted. @throws `deferred` when the slice was removed. */
export async function openStage(
  session: Session,
  key: SliceKey,
  hash: string,
): Promise<StagedSoFar & { contentKey: ContentKey }> {
  return session.transaction(async (tx) => {
    if (
      (await tx.one("/* openStageSlice */ SELECT 1 FROM slices WHERE slice_key = $1 FOR KEY SHARE", [key])) ===
      undefined
    )
      throw removedHere();
    const old = await tx.one<{ hash: string }>(
      "/* openStageOld */ SELECT hash FROM staging WHERE slice_key = $1 FOR UPDATE",
      [key],
    );
    if (old !== undefined && old.hash !== hash) await clearStage(tx, key);
    const [stage] = await tx.query<{ contentKey: ContentKey }>(
      `/* openStage */ INSERT INTO staging (slice_key, hash) VALUES ($1, $2) ON CONFLICT (slice_key) DO UPDATE SET updated_at = now()
       RETURNING content_key AS "contentKey"`,
      [key, hash],
    );
    const { contentKey } = stage!;
    return { contentKey, ...(await payloads.arrived(tx, contentKey)) };
  });
}

/** Writes the grains of one slice under their content key; nothing else may use the session until it is closed. */
export class Stage {
  readonly #session: Session;
  readonly #key: SliceKey;
  readonly #contentKey: ContentKey;
  /** Records that have come since the last COPY. */
  #records: Buffer[] = [];
  #recordBytes = 0;
  #turn: Promise<void> = Promise.resolve();
  #begun = false;
  #failure: unknown;

  constructor(session: Session, key: SliceKey, contentKey: ContentKey) {
    this.#session = session;
    this.#key = key;
    this.#contentKey = contentKey;
  }

  /** Stages whole, checked grain records: they are tuples of a COPY as they are. */
  async grains(body: Buffer): Promise<void> {
    this.#records.push(body);
    this.#recordBytes += body.length;
    step("s.stage");
    if (this.#recordBytes >= batchBytes) await this.#next(this.#copied());
  }

  /** Stages a chunk of the large grain that was staged last. */
  async chunk(grainId: Buffer, sequence: number, data: Buffer): Promise<void> {
    const copied = this.#copied();
    await this.#next(async () => {
      await copied();
      await this.#begin();
      await payloads.putPiece(this.#session, this.#contentKey, uuidText(grainId), sequence, data);
      step("s.stage");
    });
  }

  /** Commits what is left. */
  async close(): Promise<void> {
    await this.#next(this.#copied());
    await this.#turn;
    await this.#end();
  }

  /**
   * When the stream ended early: commits what has arrived after all, so that the session can be used. What
   * cannot be used, or does not fit the disk, is given up whole: it would keep others from fitting.
   */
  async keep(): Promise<void> {
    await this.close().catch(() => {});
    if (this.#failure === undefined) return;
    await this.#end().catch(() => {});
    const full = isDiskFull(this.#failure);
    if (full || asSandpiperError(this.#failure).code === "verification")
      await this.#session.transaction((tx) => clearStage(tx, this.#key)).catch(() => {});
    // So that others fit at once: where this login may (0010-upkeep.sql), and as far as a full disk lets it.
    if (full) await vacuumOnFullDisk(this.#session).catch(() => {});
  }

  /** Lets the database work on one piece while the next one is received and checked: waits for the piece before. */
  async #next(work: () => Promise<void>): Promise<void> {
    await this.#turn;
    this.#turn = work().catch((error) => {
      this.#failure ??= explain(error);
      throw this.#failure;
    });
    this.#turn.catch(() => {});
  }

  /**
   * What writes the records that have come, by a COPY of its own. It is not begun before all of them are here: a transaction that waits for
   * a primary would keep whatever is deleted meanwhile from being cleared away.
   */
  #copied(): () => Promise<void> {
    const records = this.#records;
    this.#records = [];
    this.#recordBytes = 0;
    return async () => {
      if (records.length === 0) return;
      await this.#begin();
      await payloads.putRecords(this.#session, records);
    };
  }

  async #begin(): Promise<void> {
    if (this.#begun) return;
    this.#begun = true;
    // Whoever removes the slice waits: nobody would find what is staged after that.
    await this.#session.run(`/* stageBeginLock */ SELECT pg_advisory_lock_shared(${stageLock("$1")})`, [
      this.#contentKey,
    ]);
    const there = await this.#session.one("/* stageBeginThere */ SELECT 1 FROM staging WHERE content_key = $1", [
      this.#contentKey,
    ]);
    // What is staged need not survive a crash of the database server, only ours: no wait for its disk.
    await this.#session.run(
      `/* stageBegin */ SET synchronous_commit = off; SET sandpiper.content_key = ${Number(this.#contentKey)}`,
    );
    if (there === undefined) throw removedHere();
  }

  async #end(): Promise<void> {
    if (!this.#begun) return;
    this.#begun = false;
    await this.#session.run(notStaging);
    await this.#session.run(`/* stageEndLock */ SELECT pg_advisory_unlock_shared(${stageLock("$1")})`, [
      this.#contentKey,
    ]);
  }
}

const removedHere = () =>
  new SandpiperError("deferred", "the slice was removed here while it was transferred", { hint: "Run again." });

function explain(error: unknown): unknown {
  const translated = translate(error);
  if (violatedConstraint(translated) === undefined) return translated;
  return refused(
    "stage.two-keys",
    new SandpiperError("verification", "the primary sent two grains with one key", {
      cause: error,
      hint: "Nothing was changed. The primary's operator should look at the slice.",
    }),
  );
}
