/** Publishing a file as the grain of a level-1 slice. */
import { createHash, randomUUID } from "node:crypto";
import { createReadStream } from "node:fs";
import { basename } from "node:path";
import { pipeline } from "node:stream";
import { createGzip } from "node:zlib";
import type { Database, Session } from "../database/database.ts";
import { everything } from "../database/scope.ts";
import { SandpiperError } from "../errors.ts";
import { step } from "../step.ts";
import { changeSlice } from "./change-slice.ts";
import { openContent } from "./file-content.ts";
import { type GrainRow, listGrains } from "./grain-store.ts";
import { payloads } from "./payloads/payloads.ts";
import { notePublishedFile, readPublishedFile } from "./published-file-store.ts";
import { mostInflated } from "./rules/encoding.ts";
import { grainTextProblem, levelOneKey, type Slice } from "./rules/slice.ts";
import { payloadBytesOf } from "./rules/tally.ts";

export interface Published {
  /** False when the slice holds exactly these bytes under this name already. */
  changed: boolean;
  /** The file's name, and that of the file that it replaces, if there was one. */
  source: string;
  replaced: string | undefined;
  grainId: string;
  /** Bytes of the file, and of the payload as stored (gzip). */
  fileBytes: number;
  storedBytes: number;
  hash: string;
}

/**
 * Publishes a file as the single grain of a level-1 slice, in place of the previous one: gzip-compressed (z64), or as it is (b64) if it
 * would shrink further than partners let a payload unfold. The same
 * name and bytes publish nothing; a new name is a change, since partners name their files by it.
 *
 * @param path a readable regular file.
 * @throws `usage` when it cannot be read, is empty, or has a name that cannot be stored, `conflict` for a slice with level-2 grains or a file that
 * changes while it is read, `limit` when it is too large; and as {@link changeSlice}.
 */
export async function publishFile(db: Database, slice: Slice, path: string, maxGrainBytes: number): Promise<Published> {
  const source = basename(path);
  const problem = grainTextProblem(source, 1);
  if (problem !== undefined)
    throw new SandpiperError("usage", `the file's name ${problem}`, { hint: "Rename the file." });
  const file = await fileDigest(path);
  // A catalogue of nothing is an accident of whoever wrote the file, and every partner would get it.
  if (file.bytes === 0)
    throw new SandpiperError("usage", `${path} is empty`, { hint: "Publish a file with something in it." });
  const { result, content } = await changeSlice(db, slice, async (edit) => {
    const { tx } = edit;
    const old = await listGrains(tx, everything, slice.key, { limit: 2, offset: 0 });
    if (old.length > 1 || (old[0] !== undefined && old[0].key !== levelOneKey)) {
      throw new SandpiperError(
        "conflict",
        `slice ${JSON.stringify(slice.name)} holds level-2 grains, which a file would replace`,
        { hint: "Publish into another slice, or delete its grains with a batch first." },
      );
    }
    const names = { source, replaced: old[0]?.source };
    if (old[0]?.source === source && (await holds(tx, old[0], file))) {
      return { ...names, changed: false, grainId: old[0].id, storedBytes: old[0].bytes };
    }
    step("l.delete");
    await edit.clear();
    step("l.add");
    const grainId = randomUUID();
    const store = async (encoding: "z64" | "b64"): Promise<number> => {
      const check = createHash("sha256");
      const raw = createReadStream(path);
      raw.on("data", (piece) => check.update(piece));
      const payload: AsyncIterable<Buffer> = encoding === "z64" ? pipeline(raw, createGzip(), () => {}) : raw;
      const grain = { id: grainId, key: levelOneKey, source, encoding };
      const watched = db.disk?.watched(payload) ?? payload;
      const mark = await edit.putStream(grain, watched, maxGrainBytes);
      if (check.digest("hex") === file.sha256) return payloadBytesOf(mark);
      throw new SandpiperError("conflict", `${path} changed while it was read`, {
        hint: "Run again when whoever writes it is done.",
      });
    };
    let storedBytes = await store("z64");
    if (file.bytes > mostInflated(storedBytes)) {
      // Partners would take it for one that is made to fill their disks. The wire compresses it all the same.
      await edit.clear();
      storedBytes = await store("b64");
    }
    await notePublishedFile(tx, { contentKey: slice.contentKey, id: grainId }, file.sha256);
    return { ...names, changed: true, grainId, storedBytes };
  });
  return { ...result, fileBytes: file.bytes, hash: content.hash };
}

async function fileDigest(path: string): Promise<FileDigest> {
  const hash = createHash("sha256");
  let bytes = 0;
  try {
    for await (const piece of createReadStream(path)) {
      hash.update(piece);
      bytes += piece.length;
    }
  } catch (cause) {
    throw new SandpiperError("usage", `cannot read ${path}: ${(cause as Error).message}`, {
      cause,
      hint: "Name a file that exists and that you may read.",
    });
  }
  return { sha256: hash.digest("hex"), bytes };
}

interface FileDigest {
  sha256: string;
  bytes: number;
}

/** Whether the file that a level-1 grain stands for is this one. A damaged grain is no file, and may be replaced. */
async function holds(tx: Session, grain: GrainRow, file: FileDigest): Promise<boolean> {
  const known = await readPublishedFile(tx, grain);
  if (known !== undefined) return known === file.sha256 && payloads.isIntact(tx, grain);
  if (!(await unfoldsTo(tx, grain, file))) return false;
  await notePublishedFile(tx, grain, file.sha256);
  return true;
}

async function unfoldsTo(session: Session, grain: GrainRow, file: FileDigest): Promise<boolean> {
  const hash = createHash("sha256");
  let bytes = 0;
  try {
    for await (const piece of openContent(session, grain)) {
      bytes += piece.length;
      if (bytes > file.bytes) return false;
      hash.update(piece);
    }
  } catch (error) {
    if (error instanceof SandpiperError && (error.code === "verification" || error.code === "limit")) return false;
    throw error;
  }
  return hash.digest("hex") === file.sha256;
}
