/** Reading a request's body: its type, its size, its time. */
import type { IncomingMessage } from "node:http";
import type * as z from "zod";
import { SandpiperError } from "../../errors.ts";
import { gradually } from "./gradually.ts";
import { checkShape, parseStrictJson } from "./strict-json.ts";

export interface BodyLimits {
  maxBytes: number;
  /** Values in it; 1,000 unless said. */
  maxValues?: number;
  /** For the whole of it. */
  withinMs: number;
}

/** The body as the schema has it. @throws `media_type`, `limit`, `timeout` or `usage`. */
export async function readJson<T>(request: IncomingMessage, schema: z.ZodType<T>, limits: BodyLimits): Promise<T> {
  requireMediaType(request, "application/json");
  const bytes = await readBytes(request, limits);
  if (bytes.length === 0) throw new SandpiperError("usage", "the body is empty");
  return checkShape(schema, parseStrictJson(bytes, limits.maxValues), "the body");
}

/** @throws `media_type` unless the body says that it is this, in UTF-8. */
export function requireMediaType(request: IncomingMessage, expected: string): void {
  const [type, ...parameters] = (request.headers["content-type"] ?? "").toLowerCase().split(";");
  const utf8 = parameters.every((parameter) => /^\s*charset="?utf-8"?\s*$/.test(parameter));
  if (type!.trim() !== expected || !utf8) {
    throw new SandpiperError("media_type", `the body must be ${expected}, in UTF-8`, {
      hint: `Send Content-Type: ${expected}.`,
    });
  }
}

/** The whole body. Says no to a declared size before anything is read. */
function readBytes(request: IncomingMessage, { maxBytes, withinMs }: BodyLimits): Promise<Buffer> {
  const tooLarge = () => new SandpiperError("limit", `the body is larger than ${maxBytes} bytes`);
  if (Number(request.headers["content-length"] ?? 0) > maxBytes) throw tooLarge();
  return new Promise<Buffer>((resolve, reject) => {
    const pieces: Buffer[] = [];
    let size = 0;
    let settled = false;
    const settle = (result: Buffer | Error) => {
      if (settled) return;
      settled = true;
      clearTimeout(timer);
      request.pause(); // what is left is thrown away by whoever answers (answer.ts)
      request.off("data", onData).off("end", onEnd).off("close", onClose);
      if (result instanceof Error) reject(result);
      else resolve(result);
    };
    const onData = (piece: Buffer) => {
      size += piece.length;
      if (size > maxBytes) settle(tooLarge());
      else pieces.push(piece);
    };
    const onEnd = () => settle(Buffer.concat(pieces, size));
    const onClose = () => settle(clientGone());
    const late = () =>
      settle(new SandpiperError("timeout", `the body did not arrive within ${withinMs / 1000} seconds`));
    const timer = setTimeout(gradually, withinMs, late);
    request.on("data", onData).on("end", onEnd).on("close", onClose);
  });
}

/** For the log alone: nobody is there to read it. */
export const clientGone = (cause?: unknown) =>
  new SandpiperError("network", "the client went away before its body was complete", { cause });
