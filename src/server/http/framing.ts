/** What Node's HTTP parser lets through and we do not. */
import type { IncomingMessage } from "node:http";
import { SandpiperError } from "../../errors.ts";
import { RequestError } from "./problem.ts";

const maxHeaders = 64;
const methods = "GET, HEAD, POST, PUT, PATCH, DELETE";

/** Names under which a credential might be put where logs and histories would keep it. */
const credential =
  /^(token|access_token|jwt|bearer|authorization|auth|password|secret|api[-_]?key|sync[-_]api[-_]key)$/i;

/** @throws for a request that is ambiguous, over the limits, or carries a credential in its address. */
export function checkFraming(request: IncomingMessage): void {
  const names = request.rawHeaders.filter((_, i) => i % 2 === 0).map((name) => name.toLowerCase());
  const times = (wanted: string) => names.filter((name) => name === wanted).length;
  if (names.length > maxHeaders) throw new RequestError(431, "limit", `a request has at most ${maxHeaders} headers`);
  if (times("host") === 0 && request.httpVersion === "1.1")
    throw new SandpiperError("usage", "the Host header is missing");
  if (times("host") > 1) throw new SandpiperError("usage", "the request has several Host headers");
  if (times("authorization") > 1) throw new SandpiperError("auth", "the request has several Authorization headers");
  const address = request.url ?? "";
  if (!address.startsWith("/")) throw new SandpiperError("usage", "the request's address must be a path");
  if (request.method === "TRACE") {
    throw new RequestError(405, "method", "TRACE is not supported", { headers: { allow: methods } });
  }
  const encoding = request.headers["content-encoding"];
  if (encoding !== undefined && encoding.toLowerCase() !== "identity") {
    throw new SandpiperError("media_type", "a compressed body is not accepted", { hint: "Send it as it is." });
  }
  const [path, query] = splitAddress(address);
  decode(path);
  for (const [name] of queryPairs(query)) {
    if (credential.test(name)) {
      throw new SandpiperError("usage", "a credential must not be in the address, where logs would keep it", {
        hint: "Send it in the Authorization header, or in the body of POST /login.",
      });
    }
  }
}

/** Path and query of a request's address. */
export function splitAddress(address: string): [path: string, query: string] {
  const at = address.indexOf("?");
  return at < 0 ? [address, ""] : [address.slice(0, at), address.slice(at + 1)];
}

/** The pairs of a query, decoded. @throws `usage` for a broken encoding. */
export const queryPairs = (query: string): [name: string, value: string][] =>
  query
    .split("&")
    .filter((pair) => pair !== "")
    .map((pair) => {
      const at = pair.indexOf("=");
      const text = (part: string) => decode(part.replaceAll("+", " "));
      return at < 0 ? [text(pair), ""] : [text(pair.slice(0, at)), text(pair.slice(at + 1))];
    });

function decode(text: string): string {
  let decoded: string;
  try {
    decoded = decodeURIComponent(text);
  } catch {
    throw new SandpiperError("usage", "the address is not properly percent-encoded");
  }
  if (decoded.includes("\0")) throw new SandpiperError("usage", "the address has a NUL character");
  return decoded;
}

/** Whether the request is a watchdog's, which is answered before all others, and to the end. */
export const asksForHealth = ({ url = "" }: IncomingMessage): boolean =>
  /^(\/v1)?\/(healthz|readyz)$/.test(splitAddress(url)[0]);
