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
import type { Database, Session } from "../database/database.ts";
import type { Disk } from "../database/postgres/disk.ts";
import { everything } from "../database/scope.ts";
import { SandpiperError } from "../errors.ts";
import { step } from "../step.ts";
import { changeSlice } from "./change-slice.ts";
import { findGrainByKey } from "./grain-store.ts";
import type { SmallGrain } from "./payloads/payload-store.ts";
import { payloads } from "./payloads/payloads.ts";
import type { SliceContent } from "./refresh.ts";
import { unarmour } from "./rules/encoding.ts";
import { MetadataEdit } from "./rules/metadata.ts";
import { chunkBytes, encodings, grainTextProblem, maxKeyBytes, type Slice } from "./rules/slice.ts";
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
 * @throws `not_found` for a delete of what is not there, `conflict` for an add of what is, `usage` for a payload or metadata that cannot be
 * stored; and as {@link changeSlice}. Nothing is changed then.
 */
export async function applyBatch(
  db: Database,
  slice: Slice,
  lines: AsyncIterable<BatchLine> | Iterable<BatchLine>,
  maxGrainBytes: number,
): Promise<BatchResult> {
  const { result, content } = await changeSlice(db, slice, async (tx) => {
    const edit = new Edit(tx, slice, maxGrainBytes, db.disk);
    for await (const line of lines) await edit.take(line);
    await edit.flush();
    return { added: edit.added, removed: edit.removed };
  });
  return { ...result, content };
}

const flushGrains = 1000;

class Edit {
  added = 0;
  removed = 0;
  #deletes: string[] = [];
  #adds: SmallGrain[] = [];
  #addBytes = 0;
  /** What the metadata is by now: written once, at the end. */
  #metadata: MetadataEdit | undefined;

  constructor(
    private readonly tx: Session,
    private readonly slice: Slice,
    private readonly maxGrainBytes: number,
    private readonly disk: Disk | undefined,
  ) {}

  async take(line: BatchLine): Promise<void> {
    if ("add" in line) return this.#add(line.add);
    if ("metadata" in line) {
      this.#metadata ??= new MetadataEdit(await readMetadata(this.tx, this.slice.key));
      this.#metadata.take(Object.entries(line.metadata));
      return;
    }
    await this.#flushAdds();
    if ("delete" in line) {
      this.#deletes.push(line.delete);
      if (this.#deletes.length >= flushGrains) await this.#flushDeletes();
      return;
    }
    await this.#flushDeletes();
    if ("delete_all" in line) this.removed += await payloads.clear(this.tx, this.slice.contentKey);
    else {
      const row = await findGrainByKey(this.tx, everything, this.slice.key, line.delete_key);
      if (row === undefined) throw missing(`the key ${JSON.stringify(line.delete_key)}`);
      this.removed += await payloads.delete(this.tx, this.slice.contentKey, [row.id]);
    }
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
      await payloads.putStream(this.tx, this.slice.contentKey, grain, one(payload), this.maxGrainBytes);
      return;
    }
    this.#adds.push({ ...grain, payload });
    this.#addBytes += payload.length;
    if (this.#adds.length >= flushGrains || this.#addBytes > chunkBytes) await this.#flushAdds();
  }

  async flush(): Promise<void> {
    await this.#flushAdds();
    await this.#flushDeletes();
    if (this.#metadata !== undefined) await replaceMetadata(this.tx, this.slice.key, this.#metadata.whole());
  }

  async #flushAdds(): Promise<void> {
    if (this.#adds.length === 0) return;
    step("l.add");
    await this.disk?.require();
    await payloads.put(this.tx, this.slice.contentKey, this.#adds);
    this.#adds = [];
    this.#addBytes = 0;
  }

  async #flushDeletes(): Promise<void> {
    if (this.#deletes.length === 0) return;
    step("l.delete");
    const ids = [...new Set(this.#deletes)];
    const removed = await payloads.delete(this.tx, this.slice.contentKey, ids);
    if (removed !== ids.length) throw missing("one of the ids to delete");
    this.removed += removed;
    this.#deletes = [];
  }
}

async function* one(payload: Buffer): AsyncGenerator<Buffer> {
  yield payload;
}

const missing = (what: string) =>
  new SandpiperError("not_found", `the slice has no grain with ${what}`, {
    hint: "List the slice's grains, and send the batch again.",
  });
