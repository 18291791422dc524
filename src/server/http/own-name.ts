/** Whether a request was meant for this server. */
import type { IncomingMessage } from "node:http";
import { isIP } from "node:net";
import { RequestError } from "./problem.ts";

/**
 * Refuses a request whose Host is a name that is not among `names`; without names, all are taken. An address of this machine, and
 * a name without a dot, is no name that somebody else could have led here.
 *
 * @throws 421 for another server's name.
 */
export function requireOwnName(request: IncomingMessage, names: readonly string[]): void {
  if (names.length === 0) return;
  const host = /^(?:\[([\da-f:.]+)\]|([^:]*))(?::\d*)?$/i.exec(request.headers.host ?? "");
  const name = (host?.[1] ?? host?.[2] ?? ".").toLowerCase().replace(/\.$/, "");
  if (host !== null && (isIP(name) !== 0 || !name.includes(".") || names.includes(name))) return;
  throw new RequestError(421, "usage", "this server does not have the name in the Host header", {
    hint: "Its operator can add it to server.names.",
  });
}
