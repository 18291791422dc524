/** A small JSON client for the two requests before the websocket. Redirects are never followed; answers are bounded. */
import http from "node:http";
import https from "node:https";
import { SandpiperError } from "../errors.ts";

const maxAnswerBytes = 64 * 1024 * 1024;
const timeoutMs = 30_000;

export interface Answer {
  status: number;
  headers: http.IncomingHttpHeaders;
  /** Parsed JSON; undefined for an empty body. */
  body: unknown;
  bytesIn: number;
  bytesOut: number;
}

/**
 * Sends a request and reads a JSON answer. With `etag`, the answer may be 304 without a body.
 *
 * @throws `network` when the server cannot be reached or is failing, `protocol` when what answers is not a sandpiper server,
 * `auth` for 401 and 403.
 */
export async function requestJson(
  url: URL,
  options: { method?: "GET" | "POST"; token?: string; body?: unknown; etag?: string | null; signal?: AbortSignal },
): Promise<Answer> {
  const payload = options.body === undefined ? undefined : JSON.stringify(options.body);
  const headers: Record<string, string> = { accept: "application/json" };
  if (payload !== undefined) headers["content-type"] = "application/json";
  if (options.token !== undefined) headers.authorization = `Bearer ${options.token}`;
  if (options.etag) headers["if-none-match"] = options.etag;
  const answer = await send(url, options.method ?? "GET", headers, payload, options.signal);
  const { status } = answer;
  const where = url.origin;
  if (status === 304 && options.etag) return answer;
  if (status >= 300 && status < 400) {
    throw new SandpiperError("protocol", `${where} redirects, which is not followed`, {
      hint: "Register the address that the partner's server really has.",
    });
  }
  const isJson = /^application\/(problem\+)?json/.test(answer.headers["content-type"] ?? "");
  // Without JSON it is a portal or a proxy that speaks, and knows nothing of our key.
  if ((status === 401 || status === 403) && isJson) {
    throw new SandpiperError("auth", `${where} refuses our credentials`, {
      hint: "Ask the partner whether the API key is still valid; store a new one with `sandpiper company rekey NAME --api-key-file FILE`.",
    });
  }
  if (status === 429 || status >= 500) {
    throw new SandpiperError("network", `${where} is busy or failing (HTTP ${status})`, { hint: "Run again later." });
  }
  if (status !== 200 || !(answer.headers["content-type"] ?? "").startsWith("application/json"))
    throw notSandpiper(where);
  try {
    return { ...answer, body: JSON.parse(answer.text) };
  } catch {
    throw notSandpiper(where);
  }
}

/** What answers there is something else. */
export const notSandpiper = (where: string) =>
  new SandpiperError("protocol", `what answers at ${where} is not a sandpiper server`, {
    hint: "Check the address (--sync-addr), and whether a proxy or captive portal is in between.",
  });

/** A failure to connect, in words. */
export function connectError(where: string, error: unknown): SandpiperError {
  if (error instanceof SandpiperError) return error;
  const code = (error as { code?: string }).code ?? "";
  if (code.startsWith("HPE_")) return notSandpiper(where);
  if (code === "EPROTO" || code === "ERR_SSL_WRONG_VERSION_NUMBER") {
    return new SandpiperError("protocol", `what answers at ${where} does not speak TLS as we do`, {
      cause: error,
      hint: "Check whether the address should begin with http:// instead, or name another port.",
    });
  }
  if (/CERT|SSL|TLS|SELF_SIGNED|UNABLE_TO_/.test(code)) {
    return new SandpiperError("network", `the certificate of ${where} cannot be trusted (${code})`, {
      cause: error,
      hint: "Nothing was sent. Ask the partner to renew it; name a private authority in NODE_EXTRA_CA_CERTS.",
    });
  }
  const reasons: Record<string, string> = {
    ECONNREFUSED: "nothing listens there",
    ENOTFOUND: "the name is not known",
    EAI_AGAIN: "the name cannot be looked up",
    ETIMEDOUT: "it does not answer",
    ECONNRESET: "it closed the connection",
  };
  return new SandpiperError("network", `cannot reach ${where}: ${reasons[code] ?? (error as Error).message}`, {
    cause: error,
    hint: "Check the address and the network, then run again.",
  });
}

function send(
  url: URL,
  method: string,
  headers: Record<string, string>,
  payload: string | undefined,
  signal: AbortSignal | undefined,
): Promise<Answer & { text: string }> {
  return new Promise((resolve, reject) => {
    const request = (url.protocol === "https:" ? https : http).request(
      url,
      { method, headers, agent: false, signal, timeout: timeoutMs },
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
    request.on("error", (error) => reject(connectError(url.origin, error)));
    request.end(payload);
  });
}
