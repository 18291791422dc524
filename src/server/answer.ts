/** Sending answers. An answer may be ready while the request's body is still on its way. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { jsonBytes } from "./json-text.ts";
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
  const timer = setTimeout(end, lingerMs);
  request.once("end", end).once("close", end).resume();
}

/** Sends a JSON document. */
export async function answerJson(response: ServerResponse, status: number, value: unknown): Promise<void> {
  answer(response, status, { "content-type": "application/json; charset=utf-8" }, await jsonBytes(value));
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
