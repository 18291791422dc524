/** Who a connection goes to is checked when it is made, not when its address was stored: names can change where they lead. */
import dns from "node:dns";
import { isIP, type LookupFunction } from "node:net";
import { whyRefused } from "../../companies/sync-address.ts";
import { SandpiperError } from "../../errors.ts";

/**
 * A `lookup` for connections to `url` that gives only addresses that it may lead to; what is vetted is what is connected to.
 *
 * @throws `unreachable` when `url` names an IP address that it may not: those are not looked up.
 */
export function vettedLookup(url: URL, mayBePrivate: boolean): LookupFunction {
  const why = (ip: string) => whyRefused(ip, url.protocol, mayBePrivate);
  const host = url.hostname.replace(/^\[|\]$/g, "");
  const problem = isIP(host) ? why(host) : undefined;
  if (problem !== undefined) throw refusal(url, host, problem);
  return (hostname, options, callback) => {
    dns.lookup(hostname, { ...options, all: true }, (error, found) => {
      const vetted = error ? [] : found.filter(({ address }) => why(address) === undefined);
      const [first] = vetted;
      if (error) callback(error, "");
      else if (first === undefined) {
        const address = found[0]?.address ?? "";
        callback(refusal(url, address, why(address) ?? "which is nowhere"), "");
      } else if (options.all) callback(null, vetted);
      else callback(null, first.address, first.family);
    });
  };
}

const refusal = (url: URL, ip: string, why: string) =>
  new SandpiperError("unreachable", `${url.origin} leads to ${ip}, ${why}; nothing was sent`, {
    hint: "If the address is right, give it on the command line: `sandpiper company rekey NAME --api-key-file FILE --sync-addr URL`.",
  });
