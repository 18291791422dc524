/**
 * A batch changes a slice atomically. It is a stream of lines (NDJSON), taken in their order, in one
 * transaction: deletes first, so that a grain can be replaced under its key; then adds; metadata anywhere.
 *
 *     {"delete": "<grain id>"}   {"delete_key": "<grain key>"}   {"delete_all": true}
 *     {"add": {"id"?: "<uuid>", "grain_key": "...", "source"?: "...", "encoding": "raw", "payload": "..."}}
 *     {"metadata": {"key": "value", "gone": null}}
 */
import { randomUUID } from "node:crypto";
import * as z from "zod";
import type { Database } from "../database/database.ts";
import type { Disk } from "../database/postgres/disk.ts";
import { SandpiperError } from "../errors.ts";
import { type ContentKey, uuidText } from "../ids.ts";
import { step } from "../step.ts";
import { changeSlice } from "./change-slice.ts";
import { findIdsByKey, readDigests } from "./grain-store.ts";
import type { SmallGrain } from "./payloads/payload-store.ts";
import type { SliceContent } from "./refresh.ts";
import { unarmour } from "./rules/encoding.ts";
import { digestBytes, idBytes } from "./rules/hash.ts";
import { MetadataEdit } from "./rules/metadata.ts";
import { chunkBytes, encodings, grainTextProblem, maxKeyBytes, type Slice } from "./rules/slice.ts";
import { markBytes, markCount } from "./rules/tally.ts";
import type { SliceEdit } from "./slice-edit.ts";
import { readMetadata, replaceMetadata } from "./slice-store.ts";

/** Longest payload in its armour: what a line of a batch has room for (ndjson.ts). */
const maxPayloadText = 24 * 1024 * 1024;

const grainText = (minBytes: number) =>
  z
    .string()
    .max(maxKeyBytes, { abort: true })
    .superRefine((text, context) => {
      const problem = grainTextProblem(text, minBytes);
      if (problem !== undefined) context.addIssue({ code: "custom", message: problem });
    });

/** A grain as REST takes it; the payload in its text armour. */
export const grainInput = z.strictObject({
  id: z.guid().toLowerCase().optional(),
  grain_key: grainText(1),
  source: grainText(0).default(""),
  encoding: z.enum(encodings),
  payload: z.string().max(maxPayloadText),
});

/** Texts by their keys, `Value` among them; a record of zod's would look at thousands of others first when one of them is wrong. */
const texts = <Value>(isValue: (value: unknown) => value is Value) =>
  z.custom<Record<string, Value>>(
    (value) =>
      typeof value === "object" && value !== null && !Array.isArray(value) && Object.values(value).every(isValue),
    "must be an object whose members are strings",
  );
const isText = (value: unknown): value is string => typeof value === "string";

/** Metadata of a slice as REST takes it; {@link checkMetadata} has its limits. */
export const metadataInput = texts(isText);

export const batchLine = z.union([
  z.strictObject({ delete: z.guid().toLowerCase() }),
  z.strictObject({ delete_key: grainText(1) }),
  z.strictObject({ delete_all: z.literal(true) }),
  z.strictObject({ add: grainInput }),
  z.strictObject({ metadata: texts((value) => value === null || isText(value)) }),
]);
export type BatchLine = z.infer<typeof batchLine>;

export interface BatchResult {
  added: number;
  removed: number;
  content: SliceContent;
}

/**
 * Applies the lines to the slice, all or none.
 *
 * @param maxGrainBytes refuses a larger payload with `limit`.
 * @throws `not_found` for a delete of what is not there, `conflict` for an add of what is, or of other bytes under an id that the slice had
 * before the batch (an id says what is in a grain, and partners compare by ids), `usage` for a payload or metadata that cannot be
 * stored; and as {@link changeSlice}. Nothing is changed then.
 */
export async function applyBatch(
  db: Database,
  slice: Slice,
  lines: AsyncIterable<BatchLine> | Iterable<BatchLine>,
  maxGrainBytes: number,
): Promise<BatchResult> {
  const { result, content } = await changeSlice(db, slice, async (edit) => {
    const batch = new Batch(edit, slice, maxGrainBytes, db.disk);
    for await (const line of lines) await batch.take(line);
    await batch.end();
    return { added: batch.added, removed: batch.removed };
  });
  return { ...result, content };
}

const flushGrains = 1000;

class Batch {
  added = 0;
  removed = 0;
  #deletes: string[] = [];
  #deletedKeys: string[] = [];
  #adds: SmallGrain[] = [];
  #addBytes = 0;
  /** What the metadata is by now: written once, at the end. */
  #metadata: MetadataEdit | undefined;
  /** Grains that the slice had and were deleted one by one: their digests by id, in hex. */
  readonly #deleted = new Map<string, string>();
  /** Where all grains are that the slice had, once all are deleted. */
  #old: ContentKey | undefined;

  constructor(
    private readonly edit: SliceEdit,
    private readonly slice: Slice,
    private readonly maxGrainBytes: number,
    private readonly disk: Disk | undefined,
  ) {}

  async take(line: BatchLine): Promise<void> {
    if ("add" in line) return this.#add(line.add);
    if ("metadata" in line) {
      this.#metadata ??= new MetadataEdit(await readMetadata(this.edit.tx, this.slice.key));
      this.#metadata.take(Object.entries(line.metadata));
      return;
    }
    await this.#flushAdds();
    if ("delete_all" in line) {
      await this.#flushDeletes();
      await this.#deleteAll();
      return;
    }
    if ("delete" in line) this.#deletes.push(line.delete);
    else this.#deletedKeys.push(line.delete_key);
    if (this.#deletes.length + this.#deletedKeys.length >= flushGrains) await this.#flushDeletes();
  }

  async #add(input: z.infer<typeof grainInput>): Promise<void> {
    await this.#flushDeletes();
    const payload = unarmour(input.encoding, input.payload);
    const grain = {
      id: input.id ?? randomUUID(),
      key: input.grain_key,
      source: input.source,
      encoding: input.encoding,
    };
    if (payload.length > this.maxGrainBytes) {
      throw new SandpiperError("limit", `the payload is larger than ${this.maxGrainBytes} bytes`, {
        hint: "Raise limits.max_grain_bytes, or split it.",
      });
    }
    this.added++;
    if (payload.length > chunkBytes) {
      await this.disk?.require();
      await this.#checkIds(await this.edit.putStream(grain, one(payload), this.maxGrainBytes));
      return;
    }
    this.#adds.push({ ...grain, payload });
    this.#addBytes += payload.length;
    if (this.#adds.length >= flushGrains || this.#addBytes > chunkBytes) await this.#flushAdds();
  }

  async end(): Promise<void> {
    await this.#flushAdds();
    await this.#flushDeletes();
    if (this.#old !== undefined) this.removed += await this.edit.drop(this.#old);
    if (this.#metadata !== undefined) await replaceMetadata(this.edit.tx, this.slice.key, this.#metadata.whole());
  }

  async #flushAdds(): Promise<void> {
    if (this.#adds.length === 0) return;
    step("l.add");
    await this.disk?.require();
    await this.#checkIds(await this.edit.put(this.#adds));
    this.#adds = [];
    this.#addBytes = 0;
  }

  async #flushDeletes(): Promise<void> {
    if (this.#deletes.length + this.#deletedKeys.length === 0) return;
    step("l.delete");
    const ids = new Set(this.#deletes);
    for (const [key, id] of await this.#idsOf(this.#deletedKeys)) {
      if (ids.has(id)) throw missing(`the key ${JSON.stringify(key)}`);
      ids.add(id);
    }
    if ((await this.#delete([...ids])) !== ids.size) throw missing("one of the ids to delete");
    this.#deletes = [];
    this.#deletedKeys = [];
  }

  /** The ids of the grains with these keys, by key. @throws `not_found` for a key that is not there, or is named twice. */
  async #idsOf(keys: readonly string[]): Promise<Map<string, string>> {
    if (keys.length === 0) return new Map();
    const ids = await findIdsByKey(this.edit.tx, this.edit.content, keys);
    const named = new Set<string>();
    for (const key of keys) {
      if (!ids.has(key) || named.has(key)) throw missing(`the key ${JSON.stringify(key)}`);
      named.add(key);
    }
    return ids;
  }

  async #delete(ids: readonly string[]): Promise<number> {
    const marks = await this.edit.delete(ids);
    // What was there before all were deleted is looked up where it is.
    if (this.#old === undefined) for (const { id, digest } of read(marks)) this.#deleted.set(id, digest);
    this.removed += markCount(marks);
    return markCount(marks);
  }

  async #deleteAll(): Promise<void> {
    if (this.#old === undefined) this.#old = await this.edit.setAside();
    else this.removed += await this.edit.clear();
  }

  /** @throws `conflict` for a grain that was added under an id that the slice had for another one. */
  async #checkIds(added: Buffer): Promise<void> {
    if (this.#old === undefined && this.#deleted.size === 0) return;
    const grains = read(added);
    const ids = grains.map(({ id }) => id);
    const old = this.#old === undefined ? new Map<string, string>() : await readDigests(this.edit.tx, this.#old, ids);
    for (const { id, digest } of grains) {
      const had = this.#deleted.get(id) ?? old.get(id);
      if (had === undefined || had === digest) continue;
      throw new SandpiperError("conflict", `the slice had another grain with the id ${id}`, {
        hint: "Add what is changed under an id of its own: leave the id out, and one is made.",
      });
    }
  }
}

/** Marks taken apart. */
const read = (marks: Buffer): { id: string; digest: string }[] =>
  Array.from({ length: markCount(marks) }, (_, i) => {
    const at = i * markBytes;
    return {
      id: uuidText(marks.subarray(at, at + idBytes)),
      digest: marks.toString("hex", at + idBytes, at + idBytes + digestBytes),
    };
  });

async function* one(payload: Buffer): AsyncGenerator<Buffer> {
  yield payload;
}

const missing = (what: string) =>
  new SandpiperError("not_found", `the slice has no grain with ${what}`, {
    hint: "List the slice's grains, and send the batch again.",
  });
