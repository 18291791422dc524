/** The address of a primary, as an operator gives it: what makes it acceptable. Pure. */
import { BlockList, isIPv4, isIPv6 } from "node:net";
import { SandpiperError } from "../errors.ts";

const ranges = (ipv4: [string, number][], ipv6: [string, number][]): BlockList => {
  const list = new BlockList();
  for (const [net, prefix] of ipv4) list.addSubnet(net, prefix, "ipv4");
  for (const [net, prefix] of ipv6) list.addSubnet(net, prefix, "ipv6");
  return list;
};

/** Loopback and private networks (RFC 1918, 4193, 6598), where there may be no TLS. */
const nearby = ranges(
  [
    ["127.0.0.0", 8],
    ["10.0.0.0", 8],
    ["172.16.0.0", 12],
    ["192.168.0.0", 16],
    ["100.64.0.0", 10],
  ],
  [
    ["::1", 128],
    ["fc00::", 7],
  ],
);

/** Where no primary lives: unspecified, link-local (among them the metadata services of clouds), multicast, broadcast. */
const nowhere = ranges(
  [
    ["0.0.0.0", 8],
    ["169.254.0.0", 16],
    ["224.0.0.0", 4],
    ["240.0.0.0", 4],
  ],
  [
    ["::", 128],
    ["fe80::", 10],
    ["ff00::", 8],
  ],
);

/** Names that only a private network resolves: RFC 6761, 6762, 8375, ICANN's .internal, and names without a dot. */
const privateName = /(^|\.)localhost$|\.(local|lan|internal|intranet|home\.arpa|test)$|^[^.]+$/;

const within = (list: BlockList, host: string): boolean =>
  (isIPv4(host) && list.check(host, "ipv4")) || (isIPv6(host) && list.check(host, "ipv6"));

/**
 * The address in its one written form (lower-case host, no trailing slash), so that addresses can be compared as strings.
 *
 * @throws `usage` for anything but `https://host[:port][/path]`, or `http://` to a loopback or private host.
 */
export function checkSyncAddress(text: string): string {
  const bad = (problem: string, hint = "Give an address such as https://sandpiper.example.com.") =>
    // The text may hold a password: it is not repeated.
    new SandpiperError("usage", `the sync address ${problem}`, { hint });
  if (!/^https?:\/\//i.test(text)) throw bad("must begin with https:// (or http://, on a private network)");
  // The URL parser drops or mends all of these; a person who types them means something else.
  // biome-ignore lint/suspicious/noControlCharactersInRegex: refusing them is the point
  if (/[\s\\\u0000-\u001f\u007f]/.test(text)) throw bad("has blanks, backslashes or control characters");
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
  if (url.protocol === "http:" && !within(nearby, host) && !privateName.test(host.includes(":") ? "a.b" : host)) {
    throw bad(
      "is plain http to a public host, where anyone on the way could read the API key",
      "Use https://; plain http is accepted for loopback and private addresses only.",
    );
  }
  return url.origin + url.pathname.replace(/\/+$/, "");
}

/** Where the authority of an http(s) URL ends. */
function authorityEnd(text: string): number {
  const start = text.indexOf("//") + 2;
  const rest = text.slice(start).search(/[/?#]/);
  return rest < 0 ? text.length : start + rest;
}
