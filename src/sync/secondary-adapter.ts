/** The secondary's port in production: a channel to the primary, and one database session that holds the pair's lock and makes every change. */
import { setImmediate as breathe } from "node:timers/promises";
import type { Database, Session } from "../database.ts";
import { asSandpiperError, SandpiperError } from "../errors.ts";
import type { CompanyId } from "../slices/slice.ts";
import { step } from "../step.ts";
import { addActivity } from "../subscriptions/activity-store.ts";
import { applyChange, changedHere, type StoredSlice } from "./apply.ts";
import type { Wire } from "./channel.ts";
import { unpack } from "./compression.ts";
import { readList } from "./grain-lists.ts";
import type { Confirm, Incoming, SecondaryMessage } from "./messages.ts";
import { readOutbox, settleOutbox, wasCommitted } from "./outbox-store.ts";
import type { Change, Due, LocalSlice, SecondaryPort, SliceResult, StagedSoFar } from "./secondary-port.ts";
import { checkRoom, clearStage, leftOf, openStage, Stage } from "./stage.ts";

/** How long a primary may think before our first request and after it, pings notwithstanding. */
const firstAnswerMs = 15_000;
const answerMs = 300_000;
/** How long it may let us wait for a place, in all. */
const lineMs = 3_600_000;

/** What a run wants to know while it goes on. */
export interface Watcher {
  /** Grains of a slice that have arrived, and bytes of frames in this session. */
  progress(slice: LocalSlice, grains: number, bytes: number): void;
  /** @returns whether that is final; if not, the slice is tried again. */
  finished(result: SliceResult): boolean;
  queued(ahead: number): void;
}

export interface AdapterOptions {
  db: Database;
  session: Session;
  /** Where the database keeps its files, if they are ours. */
  dataDirectory: string | undefined;
  channel: Wire;
  companyId: CompanyId;
  runId: string;
  test: boolean;
  watcher: Watcher;
  /** Milliseconds since the run began. */
  elapsedMs: () => number;
}

export class SecondaryAdapter implements SecondaryPort {
  readonly #o: AdapterOptions;
  #stage: Stage | undefined;
  #slice: LocalSlice | undefined;
  #grains = 0;
  #bytes = 0;
  #greeted = false;
  #queuedSinceMs: number | undefined;
  /** A slice in which the primary broke the protocol: nothing that it sent for it is believed any more. */
  #distrusted: LocalSlice | undefined;

  constructor(options: AdapterOptions) {
    this.#o = options;
  }

  async receive(): Promise<Incoming> {
    const incoming = await this.#o.channel.receive(this.#greeted ? answerMs : firstAnswerMs);
    return "binary" in incoming ? { binary: await unpack(incoming.binary) } : incoming;
  }

  async queued(ahead: number): Promise<void> {
    const nowMs = this.#o.elapsedMs();
    this.#queuedSinceMs ??= nowMs;
    if (nowMs - this.#queuedSinceMs > lineMs) {
      throw new SandpiperError("unavailable", "the primary has let us wait for a place for an hour", {
        hint: "Run again later; if it stays, ask the partner to raise server.max_syncs.",
      });
    }
    this.#o.watcher.queued(ahead);
  }

  async send(message: SecondaryMessage): Promise<void> {
    if (!this.#greeted) step("s.begin");
    this.#greeted = true;
    if (message.type === "reconcile") step("s.compared");
    if (message.type === "confirm") step("s.confirm");
    await this.#o.channel.send(JSON.stringify(message));
  }

  async sendFrame(frame: Buffer): Promise<void> {
    await this.#o.channel.send(frame);
  }

  readOutbox(): Promise<Confirm[]> {
    return readOutbox(this.#o.session, this.#o.companyId);
  }

  settle(runId: string, sliceId: string): Promise<void> {
    // The session may be in the middle of a COPY.
    return settleOutbox(this.#o.db, this.#o.companyId, runId, sliceId);
  }

  async readLocalList(slice: LocalSlice): Promise<Buffer> {
    step("s.list");
    const { key, contentKey, hash, count } = stored(slice);
    return this.#o.session.transaction(
      async (tx) => {
        const now = await tx.one<{ hash: string; count: number }>(
          "SELECT hash, content_count AS count FROM slices WHERE slice_key = $1",
          [key],
        );
        // An operator removes slices while they are synced; that is not the primary's fault.
        if (now?.hash !== hash || now.count !== count) throw changedHere(slice);
        return readList(tx, contentKey, null, count);
      },
      { readOnly: true, snapshot: true },
    );
  }

  async openStage(slice: LocalSlice, hash: string, due: Due): Promise<StagedSoFar> {
    const { key } = stored(slice);
    const soFar = await openStage(this.#o.session, key, hash);
    await checkRoom(this.#o.dataDirectory, leftOf(due, soFar));
    this.#stage = new Stage(this.#o.session, key, soFar.contentKey);
    this.#slice = slice;
    this.#grains = soFar.grains;
    return soFar;
  }

  async stageGrains(body: Buffer, entries: number): Promise<void> {
    await this.#stage!.grains(body);
    this.#grains += entries;
    this.#bytes += body.length;
    this.#o.watcher.progress(this.#slice!, this.#grains, this.#bytes);
  }

  async stageChunk(grainId: Buffer, sequence: number, data: Buffer): Promise<void> {
    await this.#stage!.chunk(grainId, sequence, data);
    this.#bytes += data.length;
    this.#o.watcher.progress(this.#slice!, this.#grains, this.#bytes);
  }

  async closeStage(): Promise<void> {
    const stage = this.#stage;
    this.#stage = undefined;
    try {
      await stage?.close();
    } catch (error) {
      // The session goes on to the next slice, and must be as it was.
      await stage?.keep();
      throw error;
    }
  }

  async apply(slice: LocalSlice, change: Change, confirm: Confirm): Promise<void> {
    try {
      await applyChange(this.#o.session, this.#o.companyId, stored(slice), change, confirm);
    } catch (thrown) {
      const error = asSandpiperError(thrown);
      // What was staged does not make the slice: nothing of it is kept for a next attempt.
      if (error.code === "verification") await this.#o.session.transaction((tx) => clearStage(tx, stored(slice).key));
      if (error.code !== "storage" || !(await this.#committedAfterAll(confirm))) throw error;
    }
  }

  breathe(): Promise<void> {
    return breathe();
  }

  async elapsedMs(): Promise<number> {
    return this.#o.elapsedMs();
  }

  async finished(result: SliceResult): Promise<boolean> {
    const final = this.#o.watcher.finished(result);
    if (result.error?.code === "protocol") this.#distrusted = result.slice;
    // What succeeded was logged with the slice; a rehearsal changes nothing.
    if (final && result.error !== undefined && !this.#o.test) await this.#logFailure(result, result.error);
    step("s.next");
    return final;
  }

  /** Through a connection of its own: the session may be broken, or in the middle of a COPY. That it cannot be logged is not worth another failure. */
  async #logFailure({ slice, outcome }: SliceResult, error: SandpiperError): Promise<void> {
    await addActivity(this.#o.db, {
      companyId: this.#o.companyId,
      runId: this.#o.runId,
      sliceId: slice.id,
      sliceName: slice.name,
      subId: stored(slice).subscriptionId,
      test: false,
      outcome,
      message: error.message,
      grainsAdded: 0,
      grainsRemoved: 0,
      bytes: 0,
      durationMs: Math.round(this.#o.elapsedMs()),
    }).catch(() => {});
  }

  /** Keeps what has arrived when a session ends in the middle of a slice, unless it cannot be what it should: the next run would go on from it, and fail again. */
  async dispose(): Promise<void> {
    const stage = this.#stage;
    this.#stage = undefined;
    await stage?.keep();
    const slice = this.#distrusted;
    if (slice !== undefined && !this.#o.test)
      await this.#o.session.transaction((tx) => clearStage(tx, stored(slice).key)).catch(() => {});
  }

  /** A connection that is lost at COMMIT leaves the outcome unknown: it is found out, never guessed. */
  async #committedAfterAll(confirm: Confirm): Promise<boolean> {
    try {
      return await this.#o.db.transaction((tx) => wasCommitted(tx, this.#o.companyId, confirm.run_id, confirm.id));
    } catch (cause) {
      throw new SandpiperError(
        "storage",
        "the database was lost while a slice was committed; whether it was is not known",
        {
          cause,
          hint: "Run again when the database is back: the slice is wholly old or wholly new.",
        },
      );
    }
  }
}

/** The session only hands back slices that the run put in, and those are stored ones. */
const stored = (slice: LocalSlice): StoredSlice => slice as StoredSlice;
