/**
 * Room for what a primary sends: its budget, and the disk of the database, where that can be seen. Both are looked at before grains are
 * fetched, and while they come. When room is short, what is staged for other slices is given up, oldest first, before a slice is refused.
 */

import type { Company } from "../../companies/company.ts";
import type { Database, Session } from "../../database/database.ts";
import { type Disk, diskIsFull } from "../../database/postgres/disk.ts";
import { SandpiperError } from "../../errors.ts";
import type { SliceKey } from "../../ids.ts";
import { chunkBytes } from "../../slices/rules/slice.ts";
import { refuse } from "../protocol/guards.ts";
import type { Due } from "../protocol/secondary-port.ts";
import { Budget, costOf, diskBytes, shareOf, unseenShare } from "../rules/budget.ts";
import { estimateHeld, giveUpStage, listStages, measureHeld, readFiles, type StageRow } from "./space-store.ts";

/** Rounded up: what is taken. */
const mb = (bytes: number) => `${Math.ceil(bytes / 1e6)} MB`;

/** What a slice is promised that takes more than it said. */
const stepBytes = 16 * chunkBytes;

/** The room that one run with one primary has. One slice after another takes of it. */
export class Room {
  readonly #disk: Disk | undefined;
  #budget: Budget | undefined;
  /** The slice that grains come for. */
  #slice: { key: SliceKey; name: string } | undefined;
  /** Bytes that have come since the disk was looked at. */
  #unseen = 0;
  /** The slice goes into space that is free within the database's files. */
  #within = false;

  constructor(
    private readonly db: Database,
    /** The run's own connection, which is free until grains come. */
    private readonly session: Session,
    private readonly company: Company,
    /** What the primary may have here, in bytes, if the configuration says so. */
    private readonly limit: number | undefined,
  ) {
    this.#disk = db.disk;
  }

  /** From here on nothing that is staged for the slice is given up, until another one begins or {@link leave} is called. */
  begin(key: SliceKey, name: string): void {
    this.leave();
    this.#slice = { key, name };
    this.#disk?.promised.set(key, 0);
  }

  /**
   * Looks whether there is room for grains of the slice that are yet to come, and promises it to them.
   *
   * @param kept grains that the slice has here, at most.
   * @throws `limit` when the primary would have more than it may, `storage` when the disk has not enough; the slice goes no further then.
   */
  async admit(due: Due, kept: number): Promise<void> {
    this.#budget ??= await this.#readBudget();
    await this.#fitBudget(costOf(due));
    const disk = this.#disk;
    if (disk === undefined || due.grains === 0) return;
    const needed = diskBytes(due, kept);
    await disk.inTurn(async () => {
      await this.#makeRoom(disk, needed);
      disk.promised.set(this.#slice!.key, needed);
    });
  }

  /** Counts grains, or bytes of one, that have come. @throws as {@link admit}. */
  async take(bytes: number, grains: number): Promise<void> {
    const cost = costOf({ bytes, grains });
    this.#budget!.add(cost);
    await this.#fitBudget(0);
    const disk = this.#disk;
    if (disk === undefined) return;
    disk.promised.set(this.#slice!.key, disk.promised.get(this.#slice!.key)! - cost);
    this.#unseen += bytes;
    if (this.#unseen < chunkBytes) return;
    this.#unseen = 0;
    await this.#watch(disk);
  }

  /** Counts what comes with a slice besides its grains. */
  addMetadata(metadata: readonly (readonly [string, string])[]): void {
    for (const [key, value] of metadata) this.#budget?.add(Buffer.byteLength(key) + Buffer.byteLength(value));
  }

  /** The slice is done with. */
  leave(): void {
    if (this.#slice !== undefined) this.#disk?.promised.delete(this.#slice.key);
    this.#slice = undefined;
    this.#within = false;
  }

  async #readBudget(): Promise<Budget> {
    const { held, others } = await estimateHeld(this.session, this.company.id);
    if (this.limit !== undefined) return new Budget(this.limit, held);
    if (this.#disk === undefined) return new Budget(unseenShare, held);
    const { free, reserve } = await this.#disk.look();
    const { bytes } = await readFiles(this.session);
    return new Budget(shareOf(free + bytes - reserve, others), held);
  }

  async #fitBudget(more: number): Promise<void> {
    const budget = this.#budget!;
    if (budget.lacks(more) === 0) return;
    budget.measured(await measureHeld(this.db, this.company.id));
    if (budget.lacks(more) === 0) return;
    const given = await this.#giveUp(budget.lacks(more), (stage) => stage.companyId === this.company.id);
    if (given > 0) budget.measured(await measureHeld(this.db, this.company.id));
    if (budget.lacks(more) === 0) return;
    refuse(
      "room.budget",
      new SandpiperError(
        "limit",
        `slice ${this.#slice!.name} would bring what is stored here from ${this.company.name} to ${mb(budget.held + more)}, more than the ${Math.floor(budget.limit / 1e6)} MB that it may take`,
        {
          hint: "Its old content is still complete. Ask the primary whether that is right; if so, raise limits.primary_bytes.",
        },
      ),
    );
  }

  /** Gives up stages, the oldest first, until these hold so many bytes; none if all of them would not do. @returns how many they held. */
  async #giveUp(bytes: number, which: (stage: StageRow) => boolean): Promise<number> {
    const promised = this.#disk?.promised;
    const stages = (await listStages(this.db)).filter(
      (stage) => stage.key !== this.#slice!.key && !promised?.has(stage.key) && which(stage),
    );
    if (stages.reduce((sum, stage) => sum + stage.bytes, 0) < bytes) return 0;
    let given = 0;
    for (const stage of stages) {
      if (given >= bytes) break;
      if (await giveUpStage(this.db, stage.contentKey)) given += stage.bytes;
    }
    if (given > 0) await this.#disk?.reclaim(true);
    return given;
  }

  /** Sees to it that `needed` bytes can be promised. @throws `storage` when they cannot. */
  async #makeRoom(disk: Disk, needed: number): Promise<void> {
    if ((await this.#short(disk, needed, 0)) === 0) return;
    await disk.reclaim(false);
    const short = await this.#short(disk, needed, (await readFiles(this.db)).reusable);
    if (short === 0) return;
    await this.#giveUp(short, () => true);
    if ((await this.#short(disk, needed, (await readFiles(this.db)).reusable)) > 0)
      throw await this.#full(disk, needed);
  }

  /** How many of the bytes that are needed are not there, beyond the reserve and what others were promised. */
  async #short(disk: Disk, needed: number, reusable: number): Promise<number> {
    const { free, reserve } = await disk.look();
    let others = 0;
    for (const [key, bytes] of disk.promised) if (key !== this.#slice!.key) others += Math.max(0, bytes);
    return Math.max(0, needed + others + reserve - free - reusable);
  }

  /** Looks at the disk while grains come. @throws `storage` when it is used too far. */
  async #watch(disk: Disk): Promise<void> {
    const key = this.#slice!.key;
    if (disk.promised.get(key)! < 0)
      // It takes more than it said, and asks again.
      await disk.inTurn(async () => {
        await this.#makeRoom(disk, stepBytes);
        disk.promised.set(key, stepBytes);
      });
    const isFine = () => disk.holds(this.#within);
    if (await isFine()) return;
    await disk.inTurn(async () => {
      await disk.reclaim(false);
      const left = disk.promised.get(key)!;
      // There is less than was reckoned: whatever is given up may make up for it.
      for (let given = 1; given > 0; ) {
        if (await isFine()) return;
        given = await this.#giveUp(1, () => true);
        this.#within = (await readFiles(this.db)).reusable >= left;
      }
      if (!(await isFine())) throw await this.#full(disk, left);
    });
  }

  async #full(disk: Disk, needed: number): Promise<SandpiperError> {
    return diskIsFull(disk, `about ${mb(needed)} of disk are needed for slice ${this.#slice!.name}`);
  }
}
