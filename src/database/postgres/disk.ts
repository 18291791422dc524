/**
 * The disk of the embedded database. A reserve of it is never given out: the database writes a log of whatever it does, and one that
 * cannot write its log stops, and does not start again.
 */
import { statfs } from "node:fs/promises";
import { SandpiperError } from "../../errors.ts";

const mib = 2 ** 20;

/** How large the log of the database grows at most between two checkpoints. */
export const maxLogBytes = 4096 * mib;

/** The same on a disk of so many bytes: on a small one it must not be most of it. */
export const logBytesOn = (diskBytes: number): number =>
  Math.min(maxLogBytes, Math.max(64, Math.floor(diskBytes / 64 / mib)) * mib);

/** The reserve of a disk, unless it is said otherwise: the log, which grows beyond its bound while a checkpoint is under way. */
export const reserveOn = (diskBytes: number): number => 1.5 * logBytesOn(diskBytes);

/** Bytes of a file system: all of them, and those that may still be written. */
export async function sizeOf(directory: string): Promise<{ total: number; free: number }> {
  const { blocks, bavail, bsize } = await statfs(directory);
  return { total: blocks * bsize, free: bavail * bsize };
}

/** Space that was made usable again is not looked for anew so soon. */
const freshMs = 10_000;

/** What may be written to the disk of the embedded database, as far as one process can know. */
export class Disk {
  /** Bytes that transfers under way may still take, by the key of the slice that they are for. */
  readonly promised = new Map<number, number>();
  #turn: Promise<unknown> = Promise.resolve();
  #reclaimedMs = Number.NEGATIVE_INFINITY;

  constructor(
    readonly directory: string,
    /** Bytes, if the configuration says so. */
    private readonly reserve: number | undefined,
    /** Makes the space of what was deleted usable again, and that of the log which is not needed any more. */
    private readonly clean: () => Promise<void>,
  ) {}

  /** Bytes that are free, and how many of them are the reserve. */
  async look(): Promise<{ free: number; reserve: number }> {
    const { total, free } = await sizeOf(this.directory);
    return { free, reserve: this.reserve ?? reserveOn(total) };
  }

  /**
   * Whether whoever was let in may go on to write. Less must be free for that than the reserve, since more may be written than was
   * reckoned with, and since the log grows and shrinks; but not less than half of it, which making room may write to the log.
   *
   * @param within it is written into space that is free within the database's files, of which is known only about how much there is.
   */
  async holds(within: boolean): Promise<boolean> {
    const { free, reserve } = await this.look();
    return free >= reserve * (within ? 1 / 2 : 2 / 3);
  }

  /** Makes what was deleted usable again. @param deleted something was deleted just now. */
  async reclaim(deleted: boolean): Promise<void> {
    if (!deleted && performance.now() - this.#reclaimedMs < freshMs) return;
    await this.clean();
    this.#reclaimedMs = performance.now();
  }

  /** Those who find that room is short make some one after another: what one has made may do for the next. */
  inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#turn.then(work);
    this.#turn = done.catch(() => {});
    return done;
  }

  /** Looks whether somebody who publishes may write on. @throws `storage` when it is used too far. */
  async require(): Promise<void> {
    if (await this.holds(false)) return;
    await this.inTurn(() => this.reclaim(false));
    // What was published before may have left room within the files.
    if (!(await this.holds(true))) throw await diskIsFull(this, "the disk of the database is full");
  }

  /** The same bytes, as long as the disk has room for them. */
  async *watched(pieces: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    let unseen = mib;
    for await (const piece of pieces) {
      unseen += piece.length;
      if (unseen >= mib) {
        await this.require();
        unseen = 0;
      }
      yield piece;
    }
  }
}

const mb = (bytes: number) => `${Math.round(bytes / 1e6)} MB`;

/** That there is no room. @param what is to be written. */
export async function diskIsFull(disk: Disk, what: string): Promise<SandpiperError> {
  const { free, reserve } = await disk.look();
  return new SandpiperError(
    "storage",
    `${what}: ${mb(free)} are free, of which ${mb(reserve)} are kept for the database itself`,
    { hint: `Free some space on the disk of ${disk.directory} and run again: nothing was changed.` },
  );
}
