/** The primary's port in production: a channel to one partner, and the database in that partner's scope. */

import { setImmediate as breathe } from "node:timers/promises";
import type { Database } from "../../database/database.ts";
import type { Scope } from "../../database/scope.ts";
import { SandpiperError } from "../../errors.ts";
import type { CompanyId } from "../../ids.ts";
import { computeCells, readSketch } from "../../slices/cells.ts";
import type { Metadata } from "../../slices/rules/hash.ts";
import type { Records } from "../../slices/rules/records.ts";
import { Cells } from "../../slices/rules/sketch.ts";
import { step } from "../../step.ts";
import { firstRequestMs, idleRequestMs } from "../protocol/limits.ts";
import type { Confirm, Incoming, PrimaryMessage } from "../protocol/messages.ts";
import type { Held, PrimaryPort, Read, SliceView } from "../protocol/primary-port.ts";
import type { Wire } from "../transport/channel.ts";
import { FrameCompressor } from "../transport/compression.ts";
import type { PrimaryDesk } from "./primary-desk.ts";
import {
  read,
  readChunk,
  readGrains,
  readSliceList,
  readSliceMetadata,
  recordConfirm,
  recordHeld,
  viewSlices,
} from "./primary-store.ts";

export class PrimaryAdapter implements PrimaryPort {
  readonly #db: Database;
  readonly #desk: PrimaryDesk;
  readonly #companyId: CompanyId;
  readonly #scope: Scope;
  readonly #channel: Wire;
  readonly #expired: () => boolean;
  readonly #onFailure: (sliceId: string, error: SandpiperError) => void;
  #compressor: FrameCompressor | undefined;
  #waiting = false;
  /** The slice that is being served. */
  #serving: string | undefined;
  #heard = false;
  #frames = 0;
  #bytes = 0;
  #slices = 0;

  /**
   * @param expired whether the partner's token has run out.
   * @param onFailure is told why a slice could not be served.
   */
  constructor(
    db: Database,
    desk: PrimaryDesk,
    companyId: CompanyId,
    channel: Wire,
    expired: () => boolean,
    onFailure: (sliceId: string, error: SandpiperError) => void,
  ) {
    this.#db = db.as({ company: companyId });
    this.#desk = desk;
    this.#companyId = companyId;
    this.#scope = { company: companyId };
    this.#channel = channel;
    this.#expired = expired;
    this.#onFailure = onFailure;
  }

  /** What was served so far, for the log. */
  counters(): { slices: number; frames: number; bytes: number } {
    return { slices: this.#slices, frames: this.#frames, bytes: this.#bytes };
  }

  /** Ends a connection whose token has run out, unless it is in the middle of an answer: that may finish, under rights that are re-read. */
  closeIfExpired(): void {
    if (this.#waiting && this.#expired()) void this.#channel.close(4401, "the token has expired");
  }

  /** Whether the partner may still have what is on its way to it; asked while it is behind, and the session cannot look by itself. */
  async mayHave(): Promise<boolean> {
    return this.#serving === undefined || (await viewSlices(this.#db, this.#scope, [this.#serving])).length > 0;
  }

  async receive(): Promise<Incoming> {
    this.#waiting = true;
    try {
      const incoming = await this.#channel.receive(this.#heard ? idleRequestMs : firstRequestMs);
      if (this.#expired()) throw new SandpiperError("auth", "the token has expired");
      return incoming;
    } finally {
      this.#waiting = false;
      this.#heard = true;
    }
  }

  async send(message: PrimaryMessage): Promise<void> {
    if (message.type === "compared") step("p.compare");
    if (message.type === "end") step("p.end");
    if (message.type === "content") this.#slices++;
    await this.#channel.send(JSON.stringify(message));
  }

  async sendFrame(frame: Buffer): Promise<void> {
    const packed = this.#compressor === undefined ? frame : await this.#compressor.pack(frame);
    this.#frames++;
    this.#bytes += packed.length;
    await this.#channel.send(packed);
  }

  async useCompression(): Promise<void> {
    this.#compressor = new FrameCompressor();
  }

  look(ids: readonly string[]): Promise<SliceView[]> {
    return viewSlices(this.#db, this.#scope, ids);
  }

  readMetadata(id: string): Promise<Read<Metadata>> {
    this.#serving = id;
    return readSliceMetadata(this.#db, this.#scope, id);
  }

  readList(id: string, after: Buffer | null): Promise<Read<Buffer>> {
    step("p.list");
    this.#serving = id;
    return readSliceList(this.#db, this.#scope, id, after);
  }

  async readCells(id: string, length: number): Promise<Read<Cells>> {
    step("p.cells");
    this.#serving = id;
    const { view, data } = await read(this.#db, this.#scope, id, undefined as Cells | undefined, (tx, { key }) =>
      readSketch(tx, key, length),
    );
    if (view === undefined || data !== undefined) return { view, data: data ?? new Cells(0) };
    return this.#desk.inTurn(() =>
      read(this.#db, this.#scope, id, new Cells(0), (tx, { contentKey }) => computeCells(tx, contentKey, length)),
    );
  }

  async recount(id: string): Promise<Read<{ wasRight: boolean }>> {
    this.#serving = id;
    const [slice] = await viewSlices(this.#db, this.#scope, [id]);
    const wasRight = slice === undefined || (await this.#desk.recount(slice));
    const [view] = await viewSlices(this.#db, this.#scope, [id]);
    return { view, data: { wasRight } };
  }

  readGrains(id: string, after: Buffer | null, wanted: Buffer | null): Promise<Read<Records>> {
    step("p.grains");
    this.#serving = id;
    return readGrains(this.#db, this.#scope, id, after, wanted);
  }

  readChunk(id: string, grainId: Buffer, sequence: number): Promise<Read<Buffer>> {
    this.#serving = id;
    return readChunk(this.#db, this.#scope, id, grainId, sequence);
  }

  breathe(): Promise<void> {
    return breathe();
  }

  async failed(id: string, error: SandpiperError): Promise<void> {
    this.#onFailure(id, error);
  }

  recordHeld(held: Held): Promise<void> {
    return recordHeld(this.#db, this.#companyId, held);
  }

  record(confirm: Confirm): Promise<void> {
    step("p.confirm");
    return recordConfirm(this.#db, this.#companyId, confirm);
  }
}
