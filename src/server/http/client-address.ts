/** Whose request it is: the peer of the socket or, if that is a proxy of ours, whom it names in X-Forwarded-For. */
import type { IncomingMessage } from "node:http";
import { BlockList, isIP, type Socket } from "node:net";

/** How a socket that takes both kinds of addresses names an IPv4 one. */
const mappedIpv4 = /^::ffff:(?=\d+\.)/i;

/** The proxies of `server.trusted_proxies`: addresses, and networks such as 10.0.0.0/8. */
export function proxyList(entries: readonly string[]): BlockList {
  const list = new BlockList();
  for (const entry of entries) {
    const [address = "", prefix] = entry.split("/");
    const family = isIP(address) === 6 ? "ipv6" : "ipv4";
    if (prefix === undefined) list.addAddress(address, family);
    else list.addSubnet(address, Number(prefix), family);
  }
  return list;
}

/**
 * The client's address. X-Forwarded-For is read from its end, where our own proxies wrote, up to the first address that is none of
 * theirs: what stands before that is what anybody says. Whatever is no address ends the reading.
 */
export function clientAddress(request: IncomingMessage, trusted: BlockList): string | undefined {
  let address = plainAddress(request.socket.remoteAddress);
  const forwarded = [request.headers["x-forwarded-for"] ?? ""].flat().join(",").split(",");
  while (address !== undefined && isOneOf(trusted, address)) {
    const next = plainAddress(forwarded.pop());
    if (next === undefined) break;
    address = next;
  }
  return address;
}

/** Whether the other end of a connection is a proxy of ours. */
export function isTrusted({ remoteAddress }: Socket, trusted: BlockList): boolean {
  const address = plainAddress(remoteAddress);
  return address !== undefined && isOneOf(trusted, address);
}

const isOneOf = (list: BlockList, address: string): boolean =>
  list.check(address, isIP(address) === 6 ? "ipv6" : "ipv4");

/** Of an address what one person may be taken to have: an IPv6 network of 64 bits, where addresses cost nothing. */
export function rateKey(address: string | undefined): string {
  const plain = address?.replace(mappedIpv4, "");
  if (plain === undefined || isIP(plain) !== 6) return plain ?? "";
  const [head = "", tail] = plain.replace(/%.*$/, "").split("::");
  const groups = head === "" ? [] : head.split(":");
  const after = tail === undefined || tail === "" ? [] : tail.split(":");
  while (tail !== undefined && groups.length + after.length < 8) groups.push("0");
  return [...groups, ...after]
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(":");
}

/** An IP address in its plain form (IPv4 as such), or undefined for anything else. */
function plainAddress(text: string | undefined): string | undefined {
  const address = (text ?? "").trim().replace(mappedIpv4, "");
  return isIP(address) === 0 ? undefined : address;
}
