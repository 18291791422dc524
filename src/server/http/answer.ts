/** Sending answers. An answer may be ready while the request's body is still on its way. */
import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { gradually } from "./gradually.ts";
import { problemOf } from "./problem.ts";

/** How long a client may go on sending a body that is not read any more, so that it gets to read the answer. */
const lingerMs = 1000;

/** Sends an answer of one piece. */
export function answer(
  response: ServerResponse,
  status: number,
  headers: Readonly<Record<string, string>> = {},
  body: Buffer = Buffer.alloc(0),
): void {
  const { req: request } = response;
  for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
  if (status !== 204) response.setHeader("content-length", body.length);
  response.statusCode = status;
  if (!bodyUnread(request)) {
    response.end(body);
    return;
  }
  // Closing at once would reset the connection, and the client would lose the answer. So: everything but the end,
  // throw away what comes for a moment, then close.
  response.setHeader("connection", "close");
  response.write(body);
  const end = () => {
    clearTimeout(timer);
    response.end();
  };
  const timer = setTimeout(gradually, lingerMs, end);
  request.once("end", end).once("close", end).resume();
}

const json = { "content-type": "application/json; charset=utf-8" };
/** Text of an answer that is held before it is sent. */
const pieceLength = 64 * 1024;

/** Sends a JSON document. */
export function answerJson(response: ServerResponse, status: number, value: unknown): void {
  answer(response, status, json, Buffer.from(JSON.stringify(value)));
}

/** A JSON list, an entry at a time: that of a partner with 20,000 subscriptions has ten megabytes. */
export async function* listText(entries: Iterable<unknown>): AsyncGenerator<string> {
  let separator = "[";
  for (const entry of entries) {
    yield separator + JSON.stringify(entry);
    separator = ",";
  }
  yield separator === "[" ? "[]" : "]";
}

/**
 * Sends a JSON document that comes in pieces, no faster than it is read. Nothing is sent before there is much of it: until then what goes
 * wrong is answered like any other error.
 *
 * @throws the reason of `wanted` when the client goes away, or is cut for not reading (answer-clock.ts).
 */
export async function answerText(
  response: ServerResponse,
  pieces: AsyncIterable<string>,
  wanted: AbortSignal,
): Promise<void> {
  let text = "";
  for await (const piece of pieces) {
    text += piece;
    if (text.length < pieceLength) continue;
    wanted.throwIfAborted();
    if (!response.headersSent) response.setHeader("content-type", json["content-type"]);
    if (!response.write(text)) {
      await once(response, "drain", { signal: wanted }).catch(() => wanted.throwIfAborted());
    }
    text = "";
  }
  if (response.headersSent) response.end(text);
  else answer(response, 200, json, Buffer.from(text));
}

/** Sends an error, or breaks off an answer that has begun: a reader must not take half of it for the whole. */
export function answerProblem(response: ServerResponse, thrown: unknown): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  const { status, headers, body } = problemOf(thrown);
  answer(response, status, headers, body);
}

function bodyUnread(request: IncomingMessage): boolean {
  const { "content-length": length, "transfer-encoding": transfer } = request.headers;
  return !request.complete && (transfer !== undefined || Number(length ?? 0) > 0);
}
