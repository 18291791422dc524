/**
 * The grains of one slice as they arrive: held in memory while they are few, and staged (stage.ts) once they are more, or come in
 * chunks. Most slices of a partner with many are small, and to stage them would be most of what they cost.
 */
import type { Session } from "../../database/database.ts";
import type { SliceKey } from "../../ids.ts";
import type { SmallGrain } from "../../slices/payloads/payload-store.ts";
import { type UnpackedGrain, unpackRecords } from "../../slices/rules/records.ts";
import { step } from "../../step.ts";
import { openStage, Stage } from "./stage.ts";

/** Bytes of records that are held: what a crash costs more than it would otherwise. */
const heldBytes = 64 * 1024;

export class Arrivals {
  readonly #session: Session;
  readonly #key: SliceKey;
  readonly #hash: string;
  readonly #onStage: () => void;
  #stage: Stage | undefined;
  #held: Buffer = Buffer.alloc(0);

  /** @param stage where those are that have arrived already, if there are any. @param onStage is told when they are staged after all. */
  constructor(session: Session, key: SliceKey, hash: string, stage: Stage | undefined, onStage: () => void) {
    this.#session = session;
    this.#key = key;
    this.#hash = hash;
    this.#stage = stage;
    this.#onStage = onStage;
  }

  /** Takes whole, checked grain records. */
  async grains(body: Buffer): Promise<void> {
    if (this.#stage === undefined && this.#held.length + body.length <= heldBytes) {
      this.#held = Buffer.concat([this.#held, body]);
      step("s.stage");
      return;
    }
    await (await this.#staged()).grains(body);
  }

  /** Takes a chunk of the large grain that came last. */
  async chunk(grainId: Buffer, sequence: number, data: Buffer): Promise<void> {
    await (await this.#staged()).chunk(grainId, sequence, data);
  }

  /** All have arrived. @returns them, when they are not staged. */
  async close(): Promise<SmallGrain[] | undefined> {
    if (this.#stage === undefined) return unpack(this.#held);
    await this.#stage.close();
    return undefined;
  }

  /** When the stream ended early: what has arrived is kept for a next attempt, unless it is worth nothing ({@link Stage.keep}). */
  async keep(): Promise<void> {
    if (this.#stage === undefined && this.#held.length === 0) return;
    const stage = await this.#staged().catch(() => undefined);
    await stage?.keep();
  }

  async #staged(): Promise<Stage> {
    if (this.#stage !== undefined) return this.#stage;
    this.#onStage();
    const { contentKey } = await openStage(this.#session, this.#key, this.#hash);
    this.#stage = new Stage(this.#session, this.#key, contentKey);
    if (this.#held.length > 0) await this.#stage.grains(this.#held);
    this.#held = Buffer.alloc(0);
    return this.#stage;
  }
}

/** None of the records is in chunks. */
const unpack = (records: Buffer): SmallGrain[] => unpackRecords(records) as (UnpackedGrain & SmallGrain)[];
