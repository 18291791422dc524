/** Errors as answers: `application/problem+json` (RFC 9457), at most 512 bytes, with nothing in it that the caller may not know. */
import { STATUS_CODES } from "node:http";
import type { Duplex } from "node:stream";
import { asSandpiperError, type ErrorCode, meanings, SandpiperError } from "../../errors.ts";

/** An error whose answer has another status than its code has, or needs headers. */
export class RequestError extends SandpiperError {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;

  constructor(
    status: number,
    code: ErrorCode,
    message: string,
    options: { hint?: string; cause?: unknown; headers?: Record<string, string> } = {},
  ) {
    super(code, message, options);
    this.status = status;
    this.headers = options.headers ?? {};
  }
}

export interface Problem {
  status: number;
  headers: Record<string, string>;
  body: Buffer;
}

const maxBytes = 512;

/** What a caller is told instead of what went wrong inside. */
const concealed: Record<number, string> = {
  500: "something went wrong in the server, and was logged",
  502: "another server could not be reached, or did not do its part",
  503: "the server cannot do this at the moment",
};

/** The answer for whatever was thrown. */
export function problemOf(thrown: unknown): Problem {
  const error = asSandpiperError(thrown);
  const status = error instanceof RequestError ? error.status : meanings[error.code].http;
  const hide = status >= 500 && error.code !== "unavailable";
  const fixed = {
    type: "about:blank",
    title: STATUS_CODES[status] ?? "Error",
    status,
    code: status === 500 ? "internal" : error.code,
  };
  const message = hide ? (concealed[status] ?? concealed[500]!) : error.message;
  const full = { ...fixed, message, ...(hide || error.hint === undefined ? {} : { detail: error.hint }) };
  const headers: Record<string, string> = { "content-type": "application/problem+json; charset=utf-8" };
  if (status === 401) headers["www-authenticate"] = "Bearer";
  if (status === 429 || status === 503) headers["retry-after"] = "5";
  if (error instanceof RequestError) Object.assign(headers, error.headers);
  return { status, headers, body: fit(full, fixed) };
}

/** The whole problem if it fits, else without its detail, else with as much of its message as fits. */
function fit(full: { message: string }, fixed: object): Buffer {
  const candidates = [full, { ...fixed, message: full.message }];
  for (const candidate of candidates) {
    const body = Buffer.from(JSON.stringify(candidate));
    if (body.length <= maxBytes) return body;
  }
  const letters = [...full.message];
  for (;;) {
    const body = Buffer.from(JSON.stringify({ ...fixed, message: `${letters.join("")} ...` }));
    if (body.length <= maxBytes) return body;
    letters.length -= Math.min(letters.length, Math.max(1, Math.floor((body.length - maxBytes) / 6)));
  }
}

/** Answers on a bare socket (a request that was not understood, or an upgrade that is refused), and ends it. */
export function refuseSocket(socket: Duplex, thrown: unknown): void {
  if (!socket.writable) {
    socket.destroy();
    return;
  }
  const { status, headers, body } = problemOf(thrown);
  const lines = Object.entries({
    ...headers,
    "cache-control": "no-store",
    "content-length": String(body.length),
    connection: "close",
  }).map(([name, value]) => `${name}: ${value}\r\n`);
  socket.on("error", () => {});
  socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${lines.join("")}\r\n${body.toString()}`);
  // A client that goes on sending gets a second to read this.
  setTimeout(() => socket.destroy(), 1000).unref();
}

export const noSuchAddress = () => new SandpiperError("not_found", "there is nothing at this address");

/** The answer to what is new while the server stops. */
export const stopping = () =>
  new SandpiperError("unavailable", "the server is stopping", { hint: "Try again in a moment." });
