/** A small JSON client for the two requests before the websocket. Redirects are never followed; answers are bounded. */

import http from "node:http";
import https from "node:https";
import { SandpiperError } from "../../errors.ts";
import { refuse } from "../protocol/guards.ts";
import { busyOrFailing, connectError, notSandpiper } from "./connect-error.ts";
import { dialling } from "./dialling.ts";

const timeoutMs = 30_000;

export interface Answer<Body> {
  status: number;
  headers: http.IncomingHttpHeaders;
  /** What was made of the JSON; undefined when there is none, with a status that says so. */
  body: Body | undefined;
  bytesIn: number;
  bytesOut: number;
}

/** What makes something of the JSON of an answer, as it comes. */
export interface Reader<Body> {
  /** Most bytes that it may be. */
  maxBytes: number;
  /** @throws to give the answer up. */
  take(piece: Buffer): void;
  /** It has all come. @throws SyntaxError when it is no JSON. */
  end(): Body;
}

/** Reads a JSON value of at most so many bytes. */
export function wholeJson(maxBytes: number): Reader<unknown> {
  const pieces: Buffer[] = [];
  return {
    maxBytes,
    take: (piece) => void pieces.push(piece),
    end: () => JSON.parse(Buffer.concat(pieces).toString()) as unknown,
  };
}

/**
 * Sends a request and reads a JSON answer. With `etag`, the answer may be 304 without a body. Of an answer with any other status nothing is read.
 *
 * @throws as {@link connectError} and {@link busyOrFailing} when the server cannot be reached or is failing, `protocol` when what answers is not a sandpiper server,
 * `auth` for 401 and 403 with JSON, `limit` for more bytes than the reader takes, `timeout` for an answer that does not come, and what the reader throws.
 */
export async function requestJson<Body>(
  url: URL,
  reader: Reader<Body>,
  options: {
    mayBePrivate: boolean;
    method?: "GET" | "POST";
    token?: string;
    body?: unknown;
    etag?: string | null;
    signal?: AbortSignal;
  },
): Promise<Answer<Body>> {
  const payload = options.body === undefined ? undefined : JSON.stringify(options.body);
  const headers: Record<string, string> = { accept: "application/json" };
  if (payload !== undefined) headers["content-type"] = "application/json";
  if (options.token !== undefined) headers.authorization = `Bearer ${options.token}`;
  if (options.etag) headers["if-none-match"] = options.etag;
  const way = dialling(url, options.mayBePrivate, options.signal);
  const answer = await send(url, options.method ?? "GET", headers, payload, way, reader, options.signal);
  const { status } = answer;
  const where = url.origin;
  if (status === 304 && options.etag) return answer;
  if (status >= 300 && status < 400) {
    refuse(
      "http.redirect",
      new SandpiperError(
        "protocol",
        `${where} redirects${elsewhere(where, answer.headers.location)}, which is not followed`,
        {
          hint: "Register the address that the partner's server really has (--sync-addr). If the address that it redirects to is not the partner's, a proxy or captive portal is in between.",
        },
      ),
    );
  }
  const type = typeOf(answer);
  // Without JSON it is a portal or a proxy that speaks, and knows nothing of our key.
  if ((status === 401 || status === 403) && /^application\/(problem\+)?json$/.test(type)) {
    throw new SandpiperError("auth", `${where} refuses our credentials`, {
      hint: "Ask the partner whether the API key is still valid; store a new one with `sandpiper company rekey NAME --api-key-file FILE`.",
    });
  }
  const trouble = busyOrFailing(where, status, answer.headers);
  if (trouble !== undefined) throw trouble;
  if (!hasJson(answer)) {
    const what = type === "text/html" ? "a web page" : type === "" ? "something" : `"${type}"`;
    throw notSandpiper(where, `${what} (HTTP ${status})`);
  }
  return answer;
}

/** What an answer says that it holds, without parameters. */
const typeOf = ({ headers }: { headers: http.IncomingHttpHeaders }): string =>
  (headers["content-type"] ?? "").split(";", 1)[0]!.trim().slice(0, 100);
const hasJson = (answer: { status: number; headers: http.IncomingHttpHeaders }): boolean =>
  answer.status === 200 && typeOf(answer) === "application/json";

/** Where a redirect leads, without what follows the host: there may be secrets. Empty when it stays there. */
function elsewhere(where: string, location: string | undefined): string {
  if (location === undefined || !URL.canParse(location, where)) return "";
  const { origin } = new URL(location, where);
  return origin === where || origin === "null" ? "" : ` to ${origin}`;
}

function send<Body>(
  url: URL,
  method: string,
  headers: Record<string, string>,
  payload: string | undefined,
  way: ReturnType<typeof dialling>,
  reader: Reader<Body>,
  signal: AbortSignal | undefined,
): Promise<Answer<Body>> {
  return new Promise((resolve, reject) => {
    let answered = false;
    const request = (url.protocol === "https:" ? https : http).request(
      url,
      { method, headers, agent: false, ...way, signal, timeout: timeoutMs },
      (response) => {
        answered = true;
        const { socket, statusCode: status = 0 } = response;
        const settle = (body: Body | undefined) => {
          resolve({
            status,
            headers: response.headers,
            body,
            bytesIn: socket.bytesRead,
            bytesOut: socket.bytesWritten,
          });
          request.destroy();
        };
        const refuse = (error: unknown) => {
          reject(error instanceof SandpiperError ? error : notSandpiper(url.origin, "what is not JSON"));
          request.destroy();
        };
        response.on("error", (error) => reject(connectError(url.origin, error)));
        response.on("close", () => reject(connectError(url.origin, closed()))); // after its end, if it came to that
        if (!hasJson({ status, headers: response.headers })) return settle(undefined);
        let size = 0;
        response.on("data", (part: Buffer) => {
          size += part.length;
          try {
            if (size > reader.maxBytes) throw tooLong(url.origin, reader.maxBytes);
            reader.take(part);
          } catch (error) {
            refuse(error);
          }
        });
        response.on("end", () => {
          try {
            settle(reader.end());
          } catch (error) {
            refuse(error);
          }
        });
      },
    );
    const deadline = setTimeout(
      () =>
        request.destroy(
          new SandpiperError("timeout", `${url.origin} did not answer within ${timeoutMs / 1000} seconds`, {
            hint: "Run again later.",
          }),
        ),
      timeoutMs,
    );
    // Whoever switches protocols is not asked on; Node would only close such a connection, and nobody would hear of it.
    request.on("upgrade", (_response, socket) => {
      socket.destroy();
      reject(notSandpiper(url.origin));
    });
    request.on("close", () => {
      clearTimeout(deadline);
      if (!answered) reject(connectError(url.origin, closed()));
    });
    request.on("error", (error) => {
      clearTimeout(deadline); // without a connection there is no "close"
      reject(connectError(url.origin, error));
    });
    request.end(payload);
  });
}

const closed = () => Object.assign(new Error("it closed the connection"), { code: "ECONNRESET" });

const tooLong = (where: string, bytes: number) =>
  new SandpiperError("limit", `${where} answers with more than ${bytes} bytes`, {
    hint: "Ask the partner to look at its server.",
  });
