/** Why there is no connection, or no answer that could be used: in words, and whether waiting helps. */

import type { IncomingHttpHeaders } from "node:http";
import { tlsVariableIgnored } from "../../config/environment.ts";
import { SandpiperError } from "../../errors.ts";
import { retryAfterSeconds } from "../rules/retry.ts";

/** Statuses of a server, or a gateway before it, that may be well again in a moment. */
export const passingStatuses: readonly number[] = [408, 429, 502, 503, 504];

/** The error for a status that says so: `network` when it may pass, `unreachable` for any other failure of the server. */
export function busyOrFailing(where: string, status: number, headers: IncomingHttpHeaders): SandpiperError | undefined {
  if (!passingStatuses.includes(status) && status < 500) return undefined;
  return new SandpiperError(
    passingStatuses.includes(status) ? "network" : "unreachable",
    `${where} is busy or failing (HTTP ${status})`,
    {
      hint: "Run again later; if that does not help, ask the partner to look at its server.",
      retryAfter: retryAfterSeconds(headers["retry-after"], Date.now()),
    },
  );
}

/** What answers there is something else. @param seen what it sent instead, if that is known. */
export const notSandpiper = (where: string, seen?: string) =>
  new SandpiperError(
    "protocol",
    `what answers at ${where} is not a sandpiper server${seen === undefined ? "" : `: it sent ${seen}`}`,
    { hint: "Check the address (--sync-addr), and whether a proxy or captive portal is in between." },
  );

/** It accepted our login, so it is the primary: if the websocket fails, something in between is to blame. */
export const noWebsocket = (where: string, seen: string) =>
  new SandpiperError("protocol", `${where} accepts our login, but does not open a websocket: ${seen}`, {
    hint: 'Something in between does not pass on the headers Upgrade, Connection and Sec-WebSocket-*. Ask the partner to let its proxy or balancer do so (docs/operating.md, "A primary on the internet"), or whoever runs a proxy or firewall on our side to permit websockets. If it answers with HTTP 400, the two sides may run versions of sandpiper that do not understand each other: upgrade the older one.',
  });

/** What is wrong with a certificate, and what is to be done by whom; `who` runs the server that shows it. */
const certificateTroubles: Record<string, [what: string, hint: (who: string) => string]> = {
  CERT_HAS_EXPIRED: [
    "it has expired",
    (who) => `Ask ${who} to renew it. If it is new, the clock of this machine is wrong.`,
  ],
  CERT_NOT_YET_VALID: [
    "it is not valid yet",
    (who) => `Check the clock of this machine. If it is right, ask ${who} about the certificate.`,
  ],
  ERR_TLS_CERT_ALTNAME_INVALID: [
    "it is for another name",
    (who) => `Correct the address, or ask ${who} for a certificate that is valid for the name in the address.`,
  ],
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: [
    "it comes without the intermediate certificate that vouches for it, or its authority is not known here",
    (who) =>
      `Ask ${who} to add the intermediate certificate after its own (fullchain.pem, not cert.pem). If the authority is private, name it in NODE_EXTRA_CA_CERTS here.`,
  ],
  DEPTH_ZERO_SELF_SIGNED_CERT: [
    "no authority vouches for it: it is self-signed",
    (who) =>
      `Ask ${who} for one from a public authority. Or get this one from them in another way, and name its file in NODE_EXTRA_CA_CERTS.`,
  ],
  ...Object.fromEntries(
    ["UNABLE_TO_GET_ISSUER_CERT", "UNABLE_TO_GET_ISSUER_CERT_LOCALLY", "SELF_SIGNED_CERT_IN_CHAIN"].map((code) => [
      code,
      [
        "its authority is not known here",
        (who: string) =>
          `If it is a private authority of ${who}, name its certificate in NODE_EXTRA_CA_CERTS. If not, something in between intercepts the connection, such as a firewall on our side: ask whoever runs it.`,
      ],
    ]),
  ),
  CERT_REVOKED: ["it was revoked", (who) => `Ask ${who} for a new one.`],
};

function untrusted(where: string, code: string, error: unknown): SandpiperError {
  const [what, hint] = certificateTroubles[code] ?? [
    "something is wrong with it",
    (who) => `Ask ${who} to replace it.`,
  ];
  const ignored = tlsVariableIgnored() ? " NODE_TLS_REJECT_UNAUTHORIZED has no effect." : "";
  return new SandpiperError("untrusted", `the certificate of ${where} cannot be trusted: ${what} (${code})`, {
    cause: error,
    hint: `Nothing was sent. ${hint(isProxy(where) ? "whoever runs the proxy" : "the partner")}${ignored}`,
  });
}

const isProxy = (where: string): boolean => where.startsWith("the proxy");

const reasons: Record<string, string> = {
  ECONNREFUSED: "nothing listens there",
  ENOTFOUND: "the name is not known",
  EAI_AGAIN: "the name cannot be looked up",
  ETIMEDOUT: "it does not answer",
  ECONNRESET: "it closed the connection",
  ENETUNREACH: "that network cannot be reached",
  EHOSTUNREACH: "there is no route to it",
  EMFILE: "this process may not open any more files (ulimit -n)",
};

/** A failure to connect, in words. @param where the origin, or `the proxy` and its own. */
export function connectError(where: string, thrown: unknown): SandpiperError {
  const error = mostTelling(thrown);
  if (error instanceof SandpiperError) return error;
  const code = (error as { code?: string }).code ?? "";
  if (code.startsWith("HPE_")) return notSandpiper(where, "something that is not HTTP");
  // What is wrong with a certificate has a name of its own.
  if (code === "EPROTO" || code.startsWith("ERR_SSL_")) {
    return new SandpiperError("protocol", `what answers at ${where} does not speak TLS as we do`, {
      cause: error,
      hint: "Check whether the address should begin with http:// instead, or name another port.",
    });
  }
  if (code in certificateTroubles || /CERT|SSL|TLS|SELF_SIGNED|UNABLE_TO_/.test(code))
    return untrusted(where, code, error);
  if (code === "ENOTFOUND" && !isHostName(where)) {
    return new SandpiperError("unreachable", `cannot reach ${where}: that is not the name of a host`, {
      cause: error,
      hint: "Correct the address (--sync-addr).",
    });
  }
  const mayWantTls = code === "ECONNRESET" && /^(http|ws):/.test(where);
  return new SandpiperError("network", `cannot reach ${where}: ${reasons[code] ?? (error as Error).message}`, {
    cause: error,
    hint: `Check the ${isProxy(where) ? "address of the proxy" : "address"} and the network, then run again.${mayWantTls ? " If it speaks TLS, the address begins with https://." : ""}`,
  });
}

/** Of the failures with each address of a name the one that says most: that nothing leads to an IPv6 address is seldom the trouble. */
function mostTelling(thrown: unknown): unknown {
  if (!(thrown instanceof AggregateError)) return thrown;
  const telling = thrown.errors.find(({ code }) => code !== "ENETUNREACH" && code !== "EHOSTUNREACH");
  return telling ?? thrown.errors[0] ?? thrown;
}

/** Whether the host of an origin may exist at all (RFC 1123; with underscores, which are met in practice). */
function isHostName(origin: string): boolean {
  const host = origin
    .replace(/^.*:\/\//, "")
    .replace(/:\d+$/, "")
    .replace(/\.$/, "");
  return host.length <= 253 && host.split(".").every((label) => /^(?!-)[a-z0-9_-]{1,63}(?<!-)$/i.test(label));
}
