/** A body of JSON lines, of any length, read as it comes. */
import type { IncomingMessage } from "node:http";
import type * as z from "zod";
import { SandpiperError } from "../../errors.ts";
import { clientGone } from "./json-body.ts";
import { checkShape, parseStrictJson } from "./strict-json.ts";

/** A payload of 16 MiB in base64, and room for the rest. */
const maxLineBytes = 24 * 1024 * 1024;
/** Enough for 10,000 pairs of metadata. */
const maxLineValues = 50_000;
const idleMs = 30_000;
const lineFeed = 0x0a;

/** The lines as the schema has them; empty lines are skipped. @throws what is wrong with a line, naming its number. */
export async function* readLines<T>(request: IncomingMessage, schema: z.ZodType<T>): AsyncGenerator<T> {
  let number = 0;
  for await (const line of splitLines(request)) {
    number++;
    if (line.every((byte) => byte === 0x20 || byte === 0x0d || byte === 0x09)) continue;
    yield at(number, () => checkShape(schema, parseStrictJson(line, maxLineValues), "the line"));
  }
}

function at<T>(number: number, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof SandpiperError)) throw error;
    throw new SandpiperError(error.code, `line ${number}: ${error.message}`, { cause: error, hint: error.hint });
  }
}

async function* splitLines(request: IncomingMessage): AsyncGenerator<Buffer> {
  let held: Buffer[] = [];
  let size = 0;
  let count = 0;
  for await (let piece of pieces(request)) {
    for (let end = piece.indexOf(lineFeed); end >= 0; end = piece.indexOf(lineFeed)) {
      count++;
      if (size + end > maxLineBytes) throw tooLong(count);
      yield size === 0 ? piece.subarray(0, end) : Buffer.concat([...held, piece.subarray(0, end)]);
      held = [];
      size = 0;
      piece = piece.subarray(end + 1);
    }
    if (piece.length === 0) continue;
    held.push(piece);
    size += piece.length;
    if (size > maxLineBytes) throw tooLong(count + 1);
  }
  if (size > 0) yield Buffer.concat(held, size);
}

const tooLong = (line: number) =>
  new SandpiperError("limit", `line ${line} is longer than ${maxLineBytes} bytes`, {
    hint: "Publish larger payloads with `sandpiper add`.",
  });

/**
 * What the client sends, piece by piece. Only the time in which we wait for it counts as idle, not that in which the database
 * works. The stream is left alone when the reader stops early: whoever answers throws the rest away.
 */
async function* pieces(request: IncomingMessage): AsyncGenerator<Buffer> {
  const iterator = request.iterator({ destroyOnReturn: false }) as AsyncIterator<Buffer>;
  let done = false;
  try {
    while (!done) {
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise<never>((_, reject) => {
        const error = new SandpiperError("timeout", "nothing of the body arrived for 30 seconds");
        timer = setTimeout(() => reject(error), idleMs);
      });
      const next = iterator.next().catch((cause) => {
        throw clientGone(cause);
      });
      const result = await Promise.race([next, late]).finally(() => clearTimeout(timer));
      done = result.done === true;
      if (!done) yield result.value;
    }
  } finally {
    if (!done) void iterator.return?.().catch(() => {});
  }
}
