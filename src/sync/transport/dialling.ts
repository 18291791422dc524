/** How connections to primaries are made: TLS is verified, and every address gets its time, whatever the environment says. */
import { checkServerIdentity, type PeerCertificate } from "node:tls";
import { proxyFor, Tunnel } from "./proxy.ts";
import { vettedLookup } from "./vetted-lookup.ts";

/**
 * For every connection, to primaries and to proxies. Each is Node's own default, unless NODE_TLS_REJECT_UNAUTHORIZED or
 * NODE_OPTIONS say otherwise; but for the time that each address of a name has, of 250 ms there, which is less than a round trip around the world.
 */
const connecting = {
  rejectUnauthorized: true,
  minVersion: "TLSv1.2",
  autoSelectFamily: true,
  autoSelectFamilyAttemptTimeout: 5000,
} as const;

/**
 * The options for `http.request` and ws to connect to `url`: to vetted addresses only, or through a proxy, which alone can look up names.
 *
 * @throws `config` for a proxy that is no address, `unreachable` for an IP address that `url` may not name.
 */
export function dialling(url: URL, mayBePrivate: boolean, signal: AbortSignal | undefined) {
  const lookup = vettedLookup(url, mayBePrivate);
  const proxy = proxyFor(url);
  const host = url.hostname.replace(/^\[|\]$/g, "");
  return {
    ...connecting,
    insecureHTTPParser: false,
    // Of the host itself: behind a proxy Node would compare an IP address with the proxy's name.
    checkServerIdentity: (_name: string, certificate: PeerCertificate) => checkServerIdentity(host, certificate),
    ...(proxy === undefined ? { lookup } : { agent: new Tunnel(url, proxy, connecting, signal) }),
  };
}
