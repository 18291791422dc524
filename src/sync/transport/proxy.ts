/**
 * The way to a primary through a proxy, as HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY name it: a tunnel (CONNECT) for both
 * schemes, so that TLS ends at the primary alone.
 */
import type { ClientRequest } from "node:http";
import { isIP } from "node:net";
import querystring from "node:querystring";
import type { ConnectionOptions } from "node:tls";
import type { Url } from "node:url";
import { HttpsProxyAgent } from "https-proxy-agent";
import { getProxyForUrl } from "proxy-from-env";
import { firstVariable } from "../../config/environment.ts";
import { SandpiperError } from "../../errors.ts";
import { retryAfterSeconds } from "../rules/retry.ts";
import { connectError, passingStatuses } from "./connect-error.ts";

const timeoutMs = 15_000;

const isSecure = (url: URL): boolean => /^(https|wss):$/.test(url.protocol);

/** The proxy for an address, if there is one. @throws `config` for what is not the address of an HTTP proxy. */
export function proxyFor(url: URL): URL | undefined {
  const variable = firstVariable([isSecure(url) ? "HTTPS_PROXY" : "HTTP_PROXY", "ALL_PROXY"]);
  if (variable === undefined || isExempt(url)) return undefined;
  const text = variable.value.includes("://") ? variable.value : `http://${variable.value}`;
  if (URL.canParse(text)) {
    const proxy = new URL(text);
    if (/^https?:$/.test(proxy.protocol)) return proxy;
  }
  // It may hold a password: it is not repeated.
  throw new SandpiperError("config", `${variable.name} is not the address of an HTTP proxy`, {
    hint: "Give a URL such as http://proxy.example:3128, with /, # and ? in a password as %2F, %23 and %3F. Other proxies, such as SOCKS, are not supported.",
  });
}

/** Whether NO_PROXY names the host, or a domain that it is in. */
function isExempt(url: URL): boolean {
  const [protocol, standard] = isSecure(url) ? ["https:", "443"] : ["http:", "80"];
  const host = url.hostname.replace(/\.$/, "");
  const bare = host.replace(/^\[|\]$/g, "");
  const port = url.port || standard;
  const at = (name: string) => ({ protocol, host: `${name}:${port}`, port });
  const ways = isIP(bare)
    ? // It takes the last group of an address in NO_PROXY without brackets for a port.
      [at(host), { protocol, host: bare, port: bare.split(":").at(-1) }]
    : // It knows a domain by its dot alone: `.acme.example`, not `acme.example`.
      [`.${host}`, ...host.split(".").map((_, i, labels) => labels.slice(i).join("."))].map(at);
  return ways.some((way) => getProxyForUrl(way as Url) === "");
}

/** Connects one request to the host of its address through a proxy; for https:// the TLS in it is the request's own. */
export class Tunnel extends HttpsProxyAgent<string> {
  readonly #over: AbortController;

  /** @param connecting options for the connection to the proxy. */
  constructor(
    private readonly url: URL,
    proxy: URL,
    connecting: ConnectionOptions,
    private readonly signal: AbortSignal | undefined,
  ) {
    const over = new AbortController();
    // With the password in a header the agent does not know it, and cannot put it into a log (DEBUG).
    const authorization = credentials(proxy);
    super(`${proxy.protocol}//${proxy.host}`, {
      ...connecting,
      signal: over.signal,
      headers: authorization === undefined ? {} : { "Proxy-Authorization": authorization },
    });
    this.#over = over;
  }

  override isSecureEndpoint(): boolean {
    return isSecure(this.url);
  }

  override async connect(request: ClientRequest, options: Parameters<HttpsProxyAgent<string>["connect"]>[1]) {
    const where = `the proxy ${this.proxy.protocol}//${this.proxy.host}`;
    const stop = () => this.#over.abort(this.signal?.reason);
    this.signal?.addEventListener("abort", stop);
    const late = new SandpiperError("timeout", `${where} did not answer within ${timeoutMs / 1000} seconds`, {
      hint: "Run again later.",
    });
    const timer = setTimeout(() => this.#over.abort(late), timeoutMs);
    let status = 0;
    let retryAfter: string | undefined;
    request.once("proxyConnect", (answer: { statusCode: number; headers: Record<string, string | undefined> }) => {
      status = answer.statusCode;
      retryAfter = answer.headers["retry-after"];
    });
    try {
      this.signal?.throwIfAborted();
      const socket = await super.connect(request, options);
      if (status === 200) return socket;
      socket.destroy(); // what the agent made of a refusal, to be read as if it were the primary's answer
      throw refusal(where, `${options.host}:${options.port}`, status, retryAfter);
    } catch (error) {
      throw this.#over.signal.aborted ? this.#over.signal.reason : connectError(where, error);
    } finally {
      clearTimeout(timer);
      this.signal?.removeEventListener("abort", stop);
    }
  }
}

/** What stands before the host, for a header. A percent sign that begins no code is one. */
function credentials({ username, password }: URL): string | undefined {
  if (username === "" && password === "") return undefined;
  const [user, secret] = [username, password].map((text) => querystring.unescape(text));
  return `Basic ${Buffer.from(`${user}:${secret}`).toString("base64")}`;
}

function refusal(where: string, target: string, status: number, retryAfter: string | undefined): SandpiperError {
  if (status === 407) {
    return new SandpiperError("unreachable", `${where} asks for a login, or refuses ours (HTTP 407)`, {
      hint: "Put the user and password of the proxy into HTTPS_PROXY or HTTP_PROXY: http://USER:PASSWORD@HOST:PORT.",
    });
  }
  if (passingStatuses.includes(status)) {
    return new SandpiperError("network", `${where} cannot reach ${target} at the moment (HTTP ${status})`, {
      hint: "Run again later.",
      retryAfter: retryAfterSeconds(retryAfter, Date.now()),
    });
  }
  if (!Number.isInteger(status)) {
    return new SandpiperError("unreachable", `what answers at ${where} is not an HTTP proxy`, {
      hint: "Correct HTTPS_PROXY or HTTP_PROXY.",
    });
  }
  return new SandpiperError("unreachable", `${where} does not let us through to ${target} (HTTP ${status})`, {
    hint: "Ask whoever runs the proxy to permit it, or name the host in NO_PROXY.",
  });
}
