/** What the sessions of a primary share: long work on one slice after another, and when a slice was counted last. */
import type { Database } from "../../database/database.ts";
import { asSandpiperError } from "../../errors.ts";
import type { SliceKey } from "../../ids.ts";
import { recount } from "../../slices/recount.ts";

/** A slice is not counted again for a partner before this time is over: it reads all of it. */
const recountMs = 3_600_000;

export class PrimaryDesk {
  readonly #db: Database;
  readonly #nowMs: () => number;
  #turn: Promise<unknown> = Promise.resolve();
  readonly #counted = new Map<SliceKey, number>();

  /** @param db that of the program itself: what a slice says is put right for everybody. */
  constructor(db: Database, nowMs: () => number) {
    this.#db = db;
    this.#nowMs = nowMs;
  }

  /** Does it when nobody else's work of this kind is being done: it takes memory and time. */
  inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(work);
    this.#turn = turn.catch(() => {});
    return turn;
  }

  /** Counts a slice, unless that was done lately, and puts right what it says. @returns whether it had been right. */
  async recount(slice: { key: SliceKey; name: string }): Promise<boolean> {
    const nowMs = this.#nowMs();
    if (nowMs - (this.#counted.get(slice.key) ?? Number.NEGATIVE_INFINITY) < recountMs) return true;
    this.#counted.set(slice.key, nowMs);
    try {
      return await this.inTurn(async () => (await recount(this.#db, slice)).wasRight);
    } catch (error) {
      this.#counted.delete(slice.key);
      // Somebody is changing or has removed it: the partner learns that with its next request.
      if (["conflict", "not_found"].includes(asSandpiperError(error).code)) return true;
      throw error;
    }
  }
}
