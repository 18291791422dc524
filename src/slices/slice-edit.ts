/**
 * Changing the grains of a slice, in a transaction that has its row: whatever is added or removed goes through here, so that the figures of
 * the slice (tally.ts) change with its rows, and are computed from nothing else.
 */
import type { Session } from "../database/database.ts";
import type { ContentKey, SliceKey } from "../ids.ts";
import { markPieces } from "./grain-lists.ts";
import type { SmallGrain } from "./payloads/payload-store.ts";
import { payloads } from "./payloads/payloads.ts";
import { countContent, type SliceContent } from "./refresh.ts";
import { type Metadata, sliceHash } from "./rules/hash.ts";
import { type Figures, Tally } from "./rules/tally.ts";
import { readMetadata } from "./slice-store.ts";

/** The columns of `slices s` that an edit begins with. */
export const figureColumns = `s.content_sum AS sum, s.content_count AS count, s.content_bytes AS bytes, s.sketch`;

export class SliceEdit {
  readonly tx: Session;
  readonly key: SliceKey;
  /** Under which the slice's grains are. */
  content: ContentKey;
  #tally: Tally;

  /** @param stored the slice's figures, read in this transaction, which has its row. */
  constructor(tx: Session, slice: { key: SliceKey; contentKey: ContentKey }, stored: Figures) {
    this.tx = tx;
    this.key = slice.key;
    this.content = slice.contentKey;
    this.#tally = new Tally(stored);
  }

  /** Adds grains. @returns their marks. @throws `conflict` for an id or key that is taken. */
  async put(grains: readonly SmallGrain[]): Promise<Buffer> {
    const marks = await payloads.put(this.tx, this.content, grains);
    this.#tally.add(marks);
    return marks;
  }

  /** Adds a grain of any size. @returns its mark. @throws as {@link payloads.putStream}. */
  async putStream(
    grain: Omit<SmallGrain, "payload">,
    payload: AsyncIterable<Buffer>,
    maxBytes: number,
  ): Promise<Buffer> {
    const mark = await payloads.putStream(this.tx, this.content, grain, payload, maxBytes);
    this.#tally.add(mark);
    return mark;
  }

  /** Deletes grains. @returns the marks of those that there were. */
  async delete(ids: readonly string[]): Promise<Buffer> {
    const marks = await payloads.delete(this.tx, this.content, ids);
    this.#tally.remove(marks);
    return marks;
  }

  /** Deletes all grains. @returns how many there were. */
  async clear(): Promise<number> {
    const removed = await payloads.clear(this.tx, this.content);
    this.#tally.clear();
    return removed;
  }

  /** Begins anew under another content key: what was there is kept until {@link drop}, for whoever compares the two. @returns its key. */
  async setAside(): Promise<ContentKey> {
    const old = this.content;
    const row = await this.tx.one<{ content: ContentKey }>("/* setAside */ SELECT nextval('content_keys') AS content");
    this.content = row!.content;
    this.#tally.clear();
    return old;
  }

  /** Deletes what was set aside; the slice shows what has come since. @returns how many grains there were. */
  async drop(old: ContentKey): Promise<number> {
    await this.#show();
    return payloads.clear(this.tx, old);
  }

  /** Adds all grains that are under another content key, which no slice shows. `mostAreNew`: they are more than what is here. */
  async merge(staged: ContentKey, mostAreNew: boolean): Promise<void> {
    await payloads.digest(this.tx, staged);
    if (mostAreNew) {
      const old = this.content;
      this.content = staged;
      await payloads.move(this.tx, old, staged);
      await this.#show();
      // What was here is part of it, and less than the whole.
      this.#tally = await countContent(this.tx, staged);
      return;
    }
    for await (const marks of markPieces(this.tx, staged)) this.#tally.add(marks);
    await payloads.move(this.tx, staged, this.content);
  }

  async #show(): Promise<void> {
    await this.tx.run("/* show */ UPDATE slices SET content_key = $2 WHERE slice_key = $1", [this.key, this.content]);
  }

  /** What the slice has become, if all of it was changed through here. @param metadata what it has now, if that is known. */
  async finish(metadata?: Metadata): Promise<SliceContent> {
    if (this.#tally.failed) this.#tally = await countContent(this.tx, this.content);
    const figures = this.#tally.figures();
    const pairs = metadata ?? (await readMetadata(this.tx, this.key));
    return { ...figures, hash: sliceHash(figures, pairs), metadata: pairs };
  }
}
