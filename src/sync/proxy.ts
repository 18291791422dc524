/** The way to a primary through a proxy, as HTTPS_PROXY, HTTP_PROXY and NO_PROXY name it: a tunnel (CONNECT) for both schemes, so that TLS ends at the primary alone. */
import http from "node:http";
import https from "node:https";
import { isIP } from "node:net";
import type { Duplex } from "node:stream";
import tls from "node:tls";
import { type ProxySettings, proxySettings } from "../config.ts";
import { SandpiperError } from "../errors.ts";
import { connectError, passingStatuses } from "./connect-error.ts";
import { retryAfterSeconds } from "./retry.ts";
import { vettedLookup } from "./vetted-lookup.ts";

const timeoutMs = 15_000;

/**
 * How `http.request` and ws open a connection to `url`: to vetted addresses only, or through a proxy, which alone can look up names.
 *
 * @throws `config` for a proxy that is no address, `unreachable` for an IP address that `url` may not name.
 */
export function dialling(
  url: URL,
  mayBePrivate: boolean,
  signal: AbortSignal | undefined,
): Pick<http.RequestOptions, "createConnection" | "lookup"> {
  const lookup = vettedLookup(url, mayBePrivate);
  const proxy = proxyFor(url, proxySettings());
  if (proxy === undefined) return { lookup };
  return {
    createConnection: (_options, done) => {
      const callback = done as (error: Error | null, socket?: Duplex) => void;
      tunnel(url, proxy, signal).then(
        (socket) => callback(null, socket),
        (error: Error) => callback(error),
      );
      return undefined;
    },
  };
}

/** The proxy for an address, if there is one. */
export function proxyFor(url: URL, settings: ProxySettings): URL | undefined {
  const secure = url.protocol === "https:" || url.protocol === "wss:";
  const text = secure ? settings.https : settings.http;
  if (text === "" || isExempt(url, settings.no)) return undefined;
  const withScheme = text.includes("://") ? text : `http://${text}`;
  if (URL.canParse(withScheme)) {
    const proxy = new URL(withScheme);
    if (/^https?:$/.test(proxy.protocol)) return proxy;
  }
  // It may hold a password: it is not repeated.
  throw new SandpiperError("config", `${secure ? "HTTPS" : "HTTP"}_PROXY is not the address of an HTTP proxy`, {
    hint: "It should be like http://proxy.example:3128.",
  });
}

/** Whether NO_PROXY names the address: `*`, or a host or domain (with or without a dot before it), each with a port or for all. */
function isExempt(url: URL, list: string): boolean {
  const host = url.hostname.replace(/^\[|\]$/g, "").replace(/\.$/, "");
  const port = url.port || (/^(https|wss):$/.test(url.protocol) ? "443" : "80");
  return list.split(/[\s,]+/).some((entry) => {
    const [, name = "", only] = /^(\*|\[[^\]]*\]|[^:]*|.*:.*:.*?)(?::(\d+))?$/.exec(entry.toLowerCase()) ?? [];
    const domain = name.replace(/^\[|\]$/g, "").replace(/^\*?\./, "");
    if (domain === "" || (only !== undefined && only !== port)) return false;
    return domain === "*" || host === domain || (!isIP(host) && host.endsWith(`.${domain}`));
  });
}

/** A connection to the host of `url` through the proxy; for https:// with TLS, verified against that host. */
async function tunnel(url: URL, proxy: URL, signal: AbortSignal | undefined): Promise<Duplex> {
  const socket = await connect(url, proxy, signal);
  if (url.protocol !== "https:" && url.protocol !== "wss:") return socket;
  const host = url.hostname.replace(/^\[|\]$/g, "");
  const secured = tls.connect({ socket, host, ...(isIP(host) ? {} : { servername: host }) });
  return new Promise((resolve, reject) => {
    secured.setTimeout(timeoutMs, () => secured.destroy(late(url.origin)));
    secured.once("secureConnect", () => resolve(secured.setTimeout(0)));
    secured.once("error", reject);
    secured.once("close", () => reject(Object.assign(new Error("it closed the connection"), { code: "ECONNRESET" })));
  });
}

const late = (where: string) =>
  new SandpiperError("timeout", `${where} did not answer within ${timeoutMs / 1000} seconds`, {
    hint: "Run again later.",
  });

function connect(url: URL, proxy: URL, signal: AbortSignal | undefined): Promise<Duplex> {
  const secure = /^(https|wss):$/.test(url.protocol);
  const target = `${url.hostname}:${url.port || (secure ? 443 : 80)}`;
  const headers: Record<string, string> = { host: target };
  if (proxy.username !== "" || proxy.password !== "") {
    const credentials = `${decodeURIComponent(proxy.username)}:${decodeURIComponent(proxy.password)}`;
    headers["proxy-authorization"] = `Basic ${Buffer.from(credentials).toString("base64")}`;
  }
  const where = `the proxy ${proxy.protocol}//${proxy.host}`;
  return new Promise((resolve, reject) => {
    const request = (proxy.protocol === "https:" ? https : http).request({
      host: proxy.hostname.replace(/^\[|\]$/g, ""),
      port: proxy.port || (proxy.protocol === "https:" ? 443 : 80),
      method: "CONNECT",
      path: target,
      headers,
      agent: false,
      ...(signal === undefined ? {} : { signal }),
    });
    const deadline = setTimeout(() => request.destroy(late(where)), timeoutMs);
    request.once("connect", (response, socket, head) => {
      clearTimeout(deadline);
      if (response.statusCode === 200) {
        if (head.length > 0) socket.unshift(head);
        resolve(socket);
        return;
      }
      socket.destroy();
      reject(refusal(where, target, response.statusCode ?? 0, response.headers["retry-after"]));
    });
    request.once("error", (error) => {
      clearTimeout(deadline);
      reject(connectError(where, error));
    });
    request.end();
  });
}

function refusal(where: string, target: string, status: number, retryAfter: string | undefined): SandpiperError {
  if (status === 407) {
    return new SandpiperError("unreachable", `${where} wants to know who we are, or refuses that (HTTP 407)`, {
      hint: "Put the user and password of the proxy into HTTPS_PROXY or HTTP_PROXY: http://USER:PASSWORD@HOST:PORT.",
    });
  }
  if (passingStatuses.includes(status)) {
    return new SandpiperError("network", `${where} cannot reach ${target} at the moment (HTTP ${status})`, {
      hint: "Run again later.",
      retryAfter: retryAfterSeconds(retryAfter, Date.now()),
    });
  }
  return new SandpiperError("unreachable", `${where} does not let us through to ${target} (HTTP ${status})`, {
    hint: "Ask whoever runs the proxy to permit it, or name the host in NO_PROXY.",
  });
}
