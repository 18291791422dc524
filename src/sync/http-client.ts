/** A small JSON client for the two requests before the websocket. Redirects are never followed; answers are bounded. */
import http from "node:http";
import https from "node:https";
import { SandpiperError } from "../errors.ts";
import { busyOrFailing, connectError, notSandpiper } from "./connect-error.ts";
import { dialling } from "./dialling.ts";

const maxAnswerBytes = 64 * 1024 * 1024;
const timeoutMs = 30_000;

export interface Answer {
  status: number;
  headers: http.IncomingHttpHeaders;
  /** Parsed JSON; undefined for a 304. */
  body: unknown;
  bytesIn: number;
  bytesOut: number;
}

/**
 * Sends a request and reads a JSON answer. With `etag`, the answer may be 304 without a body.
 *
 * @throws as {@link connectError} and {@link busyOrFailing} when the server cannot be reached or is failing, `protocol` when what answers is not a sandpiper server,
 * `auth` for 401 and 403 with JSON, `limit` for an answer that is too large, `timeout` for one that does not come.
 */
export async function requestJson(
  url: URL,
  options: {
    mayBePrivate: boolean;
    method?: "GET" | "POST";
    token?: string;
    body?: unknown;
    etag?: string | null;
    signal?: AbortSignal;
  },
): Promise<Answer> {
  const payload = options.body === undefined ? undefined : JSON.stringify(options.body);
  const headers: Record<string, string> = { accept: "application/json" };
  if (payload !== undefined) headers["content-type"] = "application/json";
  if (options.token !== undefined) headers.authorization = `Bearer ${options.token}`;
  if (options.etag) headers["if-none-match"] = options.etag;
  const way = dialling(url, options.mayBePrivate, options.signal);
  const answer = await send(url, options.method ?? "GET", headers, payload, way, options.signal);
  const { status } = answer;
  const where = url.origin;
  if (status === 304 && options.etag) return answer;
  if (status >= 300 && status < 400) throw redirected(where, answer.headers.location);
  const isJson = /^application\/(problem\+)?json/.test(answer.headers["content-type"] ?? "");
  // Without JSON it is a portal or a proxy that speaks, and knows nothing of our key.
  if ((status === 401 || status === 403) && isJson) {
    throw new SandpiperError("auth", `${where} refuses our credentials`, {
      hint: "Ask the partner whether the API key is still valid; store a new one with `sandpiper company rekey NAME --api-key-file FILE`.",
    });
  }
  const trouble = busyOrFailing(where, status, answer.headers);
  if (trouble !== undefined) throw trouble;
  const type = (answer.headers["content-type"] ?? "").split(";", 1)[0]!.trim().slice(0, 100);
  if (status !== 200 || type !== "application/json") {
    const what = type === "text/html" ? "a web page" : `${type === "" ? "something" : `"${type}"`}`;
    throw notSandpiper(where, `${what} (HTTP ${status})`);
  }
  try {
    return { ...answer, body: JSON.parse(answer.text) };
  } catch {
    throw notSandpiper(where, "what is not JSON");
  }
}

/** The address that it names is not followed, and repeated without what follows its host, where there may be secrets. */
function redirected(where: string, location: string | undefined): SandpiperError {
  const to = location !== undefined && URL.canParse(location, where) ? new URL(location, where).origin : where;
  return new SandpiperError(
    "protocol",
    `${where} redirects${to === where || to === "null" ? "" : ` to ${to}`}, which is not followed`,
    {
      hint: "Register the address that the partner's server really has (--sync-addr). If that one is not the partner's, a proxy or captive portal is in between.",
    },
  );
}

function send(
  url: URL,
  method: string,
  headers: Record<string, string>,
  payload: string | undefined,
  way: ReturnType<typeof dialling>,
  signal: AbortSignal | undefined,
): Promise<Answer & { text: string }> {
  return new Promise((resolve, reject) => {
    const request = (url.protocol === "https:" ? https : http).request(
      url,
      { method, headers, agent: false, ...way, signal, timeout: timeoutMs },
      (response) => {
        const parts: Buffer[] = [];
        let size = 0;
        response.on("data", (part: Buffer) => {
          size += part.length;
          if (size > maxAnswerBytes)
            request.destroy(
              new SandpiperError("limit", `${url.origin} answers with more than ${maxAnswerBytes} bytes`, {
                hint: "Ask the partner to look at its server.",
              }),
            );
          else parts.push(part);
        });
        response.on("error", (error) => reject(connectError(url.origin, error)));
        response.on("end", () => {
          const socket = response.socket;
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers,
            body: undefined,
            text: Buffer.concat(parts).toString("utf8"),
            bytesIn: socket.bytesRead,
            bytesOut: socket.bytesWritten,
          });
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
    request.on("close", () => clearTimeout(deadline));
    request.on("error", (error) => {
      clearTimeout(deadline); // without a connection there is no "close"
      reject(connectError(url.origin, error));
    });
    request.end(payload);
  });
}
