/** The secondary's port in production: a channel to the primary, and one database session that holds the pair's lock and makes every change. */

import { setImmediate as breathe } from "node:timers/promises";
import { addActivity } from "../../activity/activity-store.ts";
import type { Database, Session } from "../../database/database.ts";
import { asSandpiperError, SandpiperError } from "../../errors.ts";
import type { CompanyId, SliceKey } from "../../ids.ts";
import { computeCells, readSketch } from "../../slices/cells.ts";
import { readList } from "../../slices/grain-lists.ts";
import type { SmallGrain } from "../../slices/payloads/payload-store.ts";
import { recount } from "../../slices/recount.ts";
import { listEntryBytes } from "../../slices/rules/hash.ts";
import type { Cells } from "../../slices/rules/sketch.ts";
import { step } from "../../step.ts";
import { answerMs, firstAnswerMs, lineMs } from "../protocol/limits.ts";
import type { Confirm, Incoming, SecondaryMessage } from "../protocol/messages.ts";
import type { Change, Due, LocalSlice, SecondaryPort, SliceResult, StagedSoFar } from "../protocol/secondary-port.ts";
import { leftOf } from "../rules/budget.ts";
import type { Wire } from "../transport/channel.ts";
import { unpack } from "../transport/compression.ts";
import { applyChange, changedHere, isAsIt, misstated } from "./apply.ts";
import { Arrivals } from "./arrivals.ts";
import { readOutbox, settleOutbox, wasCommitted } from "./outbox-store.ts";
import type { Room } from "./room.ts";
import { clearStage, openStage, readStaged, Stage } from "./stage.ts";

/** Acknowledged confirmations that are forgotten at once. */
const settledAtOnce = 100;

/** What happens while grains are transferred. */
export type TransferEvent =
  /** The primary lets us wait for a place: so many syncs come before us. It says so again while we wait. */
  | { type: "queued"; ahead: number }
  /** Grains of a slice have arrived: so many of it in all, and so many bytes of frames in this session. */
  | { type: "progress"; slice: LocalSlice; grains: number; bytes: number };

export interface AdapterOptions {
  db: Database;
  session: Session;
  /** The room that the run has. */
  room: Room;
  channel: Wire;
  companyId: CompanyId;
  runId: string;
  rehearsal: boolean;
  emit: (event: TransferEvent) => void;
  /** A slice is done with. @returns whether that is final; if not, the slice is tried again. */
  isFinal: (result: SliceResult) => boolean;
  /** Milliseconds since the run began. */
  elapsedMs: () => number;
}

export class SecondaryAdapter implements SecondaryPort {
  readonly #o: AdapterOptions;
  #arrivals: Arrivals | undefined;
  /** Grains of the slice that have arrived and are not staged: there are few of them. */
  #arrived: SmallGrain[] | undefined;
  /** The slices for which something may be staged. */
  #staged: Set<SliceKey> | undefined;
  /** Confirmations that were acknowledged, not forgotten yet. */
  #settled: [runId: string, sliceId: string][] = [];
  #slice: LocalSlice | undefined;
  #grains = 0;
  #bytes = 0;
  #greeted = false;
  #queuedSinceMs: number | undefined;
  /** A slice for which nothing that was sent is kept: there is no room for it, or the primary broke the protocol. */
  #unwanted: LocalSlice | undefined;

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
      throw new SandpiperError("unavailable", "the primary has kept us waiting for a place for an hour", {
        hint: "Run again later; if that does not help, ask the partner to raise server.max_syncs.",
      });
    }
    this.#o.emit({ type: "queued", ahead });
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

  async settle(runId: string, sliceId: string): Promise<void> {
    // Many at once: what is not forgotten in time is sent again, and stored once.
    this.#settled.push([runId, sliceId]);
    if (this.#settled.length >= settledAtOnce) await this.#forgetSettled();
  }

  async #forgetSettled(): Promise<void> {
    if (this.#settled.length === 0) return;
    // Through another connection: the session may be in the middle of a COPY.
    await settleOutbox(this.#o.db, this.#o.companyId, this.#settled.splice(0));
  }

  async readLocalList(slice: LocalSlice): Promise<Buffer> {
    step("s.list");
    const { session } = this.#o;
    // One more than there should be, to see that there is none.
    const list = await readList(session, slice.contentKey, null, slice.count + 1);
    const count = list.length / listEntryBytes;
    if (count === slice.count) return list;
    // An operator removes slices while they are synced; that is not the primary's fault.
    if (!(await isAsIt(session, slice))) throw changedHere(slice);
    throw misstated(slice, count);
  }

  async readLocalCells(slice: LocalSlice, length: number): Promise<Cells> {
    step("s.list");
    const { session } = this.#o;
    return (await readSketch(session, slice.key, length)) ?? computeCells(session, slice.contentKey, length);
  }

  async recount(slice: LocalSlice): Promise<{ hash: string; count: number; wasRight: boolean }> {
    const { content, wasRight } = await recount(this.#o.session, slice);
    return { hash: content.hash, count: content.count, wasRight };
  }

  async openStage(slice: LocalSlice, hash: string, due: Due): Promise<StagedSoFar> {
    const { key } = slice;
    const { session, companyId, room } = this.#o;
    room.begin(key, slice.name);
    this.#staged ??= await readStaged(session, companyId);
    const open = this.#staged.has(key) ? await openStage(session, key, hash) : undefined;
    const soFar = open ?? { after: null, grains: 0, bytes: 0, large: null };
    await room.admit(leftOf(due, soFar), slice.count);
    const stage = open && new Stage(session, key, open.contentKey);
    this.#arrivals = new Arrivals(session, key, hash, stage, () => this.#staged!.add(key));
    this.#slice = slice;
    this.#grains = soFar.grains;
    return soFar;
  }

  async stageGrains(body: Buffer, entries: number): Promise<void> {
    await this.#take(body.length, entries);
    await this.#arrivals!.grains(body);
    this.#grains += entries;
    this.#bytes += body.length;
    this.#tellProgress();
  }

  async stageChunk(grainId: Buffer, sequence: number, data: Buffer): Promise<void> {
    await this.#take(data.length, 0);
    await this.#arrivals!.chunk(grainId, sequence, data);
    this.#bytes += data.length;
    this.#tellProgress();
  }

  #tellProgress(): void {
    this.#o.emit({ type: "progress", slice: this.#slice!, grains: this.#grains, bytes: this.#bytes });
  }

  /** What there is no room for is given up: it would take that of others. */
  async #take(bytes: number, grains: number): Promise<void> {
    try {
      await this.#o.room.take(bytes, grains);
    } catch (error) {
      this.#unwanted = this.#slice;
      throw error;
    }
  }

  async closeStage(): Promise<void> {
    const arrivals = this.#arrivals;
    this.#arrivals = undefined;
    try {
      this.#arrived = await arrivals?.close();
    } catch (error) {
      // The session goes on to the next slice, and must be as it was.
      await arrivals?.keep();
      throw error;
    }
  }

  async apply(slice: LocalSlice, change: Change, confirm: Confirm): Promise<void> {
    let committing = false;
    const beforeCommit = () => {
      committing = true;
    };
    try {
      this.#o.room.addMetadata(change.content.metadata);
      const { session, companyId } = this.#o;
      await applyChange(session, companyId, slice, change, confirm, this.#arrived, beforeCommit);
    } catch (thrown) {
      const error = asSandpiperError(thrown);
      // What was staged does not make the slice: nothing of it is kept for a next attempt.
      if (error.code === "verification") await this.#o.session.transaction((tx) => clearStage(tx, slice.key));
      if (!committing) throw error;
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
    this.#o.room.leave();
    const final = this.#o.isFinal(result);
    if (result.error?.code === "protocol") this.#unwanted = result.slice;
    // What succeeded was logged with the slice; a rehearsal changes nothing.
    if (final && result.error !== undefined && !this.#o.rehearsal) await this.#logFailure(result, result.error);
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
      subId: slice.subscriptionId,
      rehearsal: false,
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
    const arrivals = this.#arrivals;
    this.#arrivals = undefined;
    this.#o.room.leave();
    await arrivals?.keep();
    await this.#forgetSettled().catch(() => {});
    const slice = this.#unwanted;
    if (slice !== undefined && !this.#o.rehearsal)
      await this.#o.session.transaction((tx) => clearStage(tx, slice.key)).catch(() => {});
  }

  /** A connection that is lost at COMMIT leaves the outcome unknown: it is found out, never guessed. */
  async #committedAfterAll(confirm: Confirm): Promise<boolean> {
    try {
      return await this.#o.db.transaction((tx) => wasCommitted(tx, this.#o.companyId, confirm.run_id, confirm.id));
    } catch (cause) {
      throw new SandpiperError(
        "storage",
        "the database was lost while a slice was being committed; it is not known whether the commit succeeded",
        {
          cause,
          hint: "Run again when the database is back: the slice is wholly old or wholly new.",
        },
      );
    }
  }
}
