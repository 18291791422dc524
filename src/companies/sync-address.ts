/** The address of a primary: what makes it acceptable as text, and what it may turn out to be when it is connected to. Pure. */
import { BlockList, isIPv4, isIPv6 } from "node:net";
import { SandpiperError } from "../errors.ts";

/** Where a primary listens, and whether that may be on a loopback or private network. */
export interface SyncTarget {
  url: string;
  mayBePrivate: boolean;
}

/** IPv4 networks also in their IPv6 forms: mapped (RFC 4291) and behind NAT64 (RFC 6052). */
const ranges = (ipv4: [string, number][], ipv6: [string, number][]): BlockList => {
  const list = new BlockList();
  for (const [net, prefix] of ipv4) {
    list.addSubnet(net, prefix, "ipv4");
    list.addSubnet(`::ffff:${net}`, 96 + prefix, "ipv6");
    list.addSubnet(`64:ff9b::${net}`, 96 + prefix, "ipv6");
  }
  for (const [net, prefix] of ipv6) list.addSubnet(net, prefix, "ipv6");
  return list;
};

/** Loopback and private networks (RFC 1918, 2544, 4193, 6598), where there may be no TLS. */
const nearby = ranges(
  [
    ["127.0.0.0", 8],
    ["10.0.0.0", 8],
    ["172.16.0.0", 12],
    ["192.168.0.0", 16],
    ["100.64.0.0", 10],
    ["198.18.0.0", 15],
  ],
  [
    ["::1", 128],
    ["fc00::", 7],
  ],
);

/** Where no primary lives: unspecified, link-local (among them the metadata services of clouds), multicast, broadcast, and what IPv6 has given up. */
const nowhere = ranges(
  [
    ["0.0.0.0", 8],
    ["169.254.0.0", 16],
    ["192.0.0.0", 24],
    ["224.0.0.0", 4],
    ["240.0.0.0", 4],
  ],
  [
    ["::", 128],
    ["64:ff9b:1::", 48],
    ["100::", 64],
    ["2001::", 32],
    ["2002::", 16],
    ["fd00:ec2::254", 128],
    ["fe80::", 10],
    ["fec0::", 10],
    ["ff00::", 8],
  ],
);

/** Names that only a private network resolves: RFC 6761, 6762, 8375, ICANN's .internal, and names without a dot. */
const privateName = /(^|\.)localhost$|\.(local|lan|internal|intranet|home\.arpa|test)$|^[^.]+$/;

const within = (list: BlockList, host: string): boolean =>
  (isIPv4(host) && list.check(host, "ipv4")) || (isIPv6(host) && list.check(host, "ipv6"));

/** Whether a host is, or by its name must be, on a loopback or private network. */
const isPrivate = (host: string): boolean =>
  within(nearby, host) || (!isIPv4(host) && !isIPv6(host) && privateName.test(host));

/**
 * Why nothing may be sent to this IP address, which a sync address has led to; undefined when it may. Plain http goes to private
 * networks alone, and those are open only to an address that may be private.
 */
export function whyRefused(ip: string, protocol: string, mayBePrivate: boolean): string | undefined {
  const address = ip.replace(/%.*$/, ""); // without the interface
  if (!isIPv4(address) && !isIPv6(address)) return "which is not an IP address";
  if (within(nowhere, address)) return "where no primary can be";
  const near = within(nearby, address);
  if (near && !mayBePrivate) return "which is on a private network";
  if (!near && /^(http|ws):$/.test(protocol)) return "which is public, while plain http is for private networks";
  return undefined;
}

/** What somebody pasted who has seen a request: it begins below the address. A path of `/sync` alone may be where a proxy puts the server. */
const requestPath = /\/v1(\/(login|sync|sync\/subs|healthz|readyz))?$|\/(login|sync\/subs|healthz|readyz)$/;

/**
 * The address in its one written form (lower-case host, no trailing slash, nothing of a request), so that addresses can be
 * compared as strings.
 *
 * @param mayBePrivate what an operator says here may be; what comes over REST, only where the configuration allows it.
 * @throws `usage` for anything but `https://host[:port][/path]`, or `http://` to a loopback or private host.
 */
export function checkSyncAddress(text: string, mayBePrivate = true): string {
  const bad = (problem: string, hint = "Give an address such as https://sandpiper.example.com.") =>
    // The text may hold a password: it is not repeated.
    new SandpiperError("usage", `the sync address ${problem}`, { hint });
  if (!/^https?:\/\//i.test(text)) throw bad("must begin with https:// (or http://, on a private network)");
  // The URL parser drops or mends all of these; a person who types them means something else.
  // biome-ignore lint/suspicious/noControlCharactersInRegex: refusing them is the point
  if (/[\s\\\u0000-\u001f\u007f]/.test(text)) throw bad("has spaces, backslashes or control characters");
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw bad("is not a URL");
  }
  if (text.slice(0, authorityEnd(text)).includes("@"))
    throw bad("has a user name or password", "Leave them out: the API key says who you are.");
  if (/[?#]/.test(text)) throw bad("has a query or a fragment", "Leave out everything from ? or # on.");
  if (url.port === "0") throw bad("names port 0");
  const host = url.hostname.replace(/^\[|\]$/g, "").replace(/\.$/, "");
  if (within(nowhere, host)) throw bad(`leads to ${host}, where no primary can be`);
  if (!mayBePrivate && isPrivate(host)) {
    throw bad(
      `leads to ${host}, on a private network`,
      "Give it on the command line (`sandpiper company rekey NAME --sync-addr URL`), or set server.allow_private_addresses.",
    );
  }
  if (url.protocol === "http:" && !isPrivate(host)) {
    throw bad(
      "is plain http to a public host, where anyone on the way could read the API key",
      "Use https://; plain http is accepted for loopback and private addresses only.",
    );
  }
  const path = url.pathname.replace(/\/+$/, "").replace(requestPath, "");
  return url.origin + path.replace(/\/+$/, "");
}

/** Where the authority of an http(s) URL ends. */
function authorityEnd(text: string): number {
  const start = text.indexOf("//") + 2;
  const rest = text.slice(start).search(/[/?#]/);
  return rest < 0 ? text.length : start + rest;
}
