/** Why there is no connection, or no answer that could be used: in words, and whether waiting helps. */
import type { IncomingHttpHeaders } from "node:http";
import { SandpiperError } from "../errors.ts";
import { retryAfterSeconds } from "./retry.ts";

/** Statuses of a server, or a gateway before it, that may be well again in a moment. */
export const passingStatuses: readonly number[] = [408, 429, 502, 503, 504];

/** The error for a status that says so: `network` when it may pass, `unreachable` for any other failure of the server. */
export function busyOrFailing(where: string, status: number, headers: IncomingHttpHeaders): SandpiperError | undefined {
  if (!passingStatuses.includes(status) && status < 500) return undefined;
  return new SandpiperError(
    passingStatuses.includes(status) ? "network" : "unreachable",
    `${where} is busy or failing (HTTP ${status})`,
    {
      hint: "Run again later; if it stays, ask the partner to look at its server.",
      retryAfter: retryAfterSeconds(headers["retry-after"], Date.now()),
    },
  );
}

/** What answers there is something else. */
export const notSandpiper = (where: string) =>
  new SandpiperError("protocol", `what answers at ${where} is not a sandpiper server`, {
    hint: "Check the address (--sync-addr), and whether a proxy or captive portal is in between.",
  });

/** A failure to connect, in words. */
export function connectError(where: string, error: unknown): SandpiperError {
  if (error instanceof SandpiperError) return error;
  const code = (error as { code?: string }).code ?? "";
  if (code.startsWith("HPE_")) return notSandpiper(where);
  if (code === "EPROTO" || code === "ERR_SSL_WRONG_VERSION_NUMBER") {
    return new SandpiperError("protocol", `what answers at ${where} does not speak TLS as we do`, {
      cause: error,
      hint: "Check whether the address should begin with http:// instead, or name another port.",
    });
  }
  if (/CERT|SSL|TLS|SELF_SIGNED|UNABLE_TO_/.test(code)) {
    return new SandpiperError("untrusted", `the certificate of ${where} cannot be trusted (${code})`, {
      cause: error,
      hint: "Nothing was sent. Ask the partner to renew it; name a private authority in NODE_EXTRA_CA_CERTS.",
    });
  }
  if (code === "ENOTFOUND" && !isHostName(where)) {
    return new SandpiperError("unreachable", `cannot reach ${where}: that is not the name of a host`, {
      cause: error,
      hint: "Correct the address (--sync-addr).",
    });
  }
  const reasons: Record<string, string> = {
    ECONNREFUSED: "nothing listens there",
    ENOTFOUND: "the name is not known",
    EAI_AGAIN: "the name cannot be looked up",
    ETIMEDOUT: "it does not answer",
    ECONNRESET: "it closed the connection",
  };
  return new SandpiperError("network", `cannot reach ${where}: ${reasons[code] ?? (error as Error).message}`, {
    cause: error,
    hint: "Check the address and the network, then run again.",
  });
}

/** Whether the host of an origin may exist at all (RFC 1123; with underscores, which are met in practice). */
function isHostName(origin: string): boolean {
  const host = origin
    .replace(/^.*:\/\//, "")
    .replace(/:\d+$/, "")
    .replace(/\.$/, "");
  return host.length <= 253 && host.split(".").every((label) => /^(?!-)[a-z0-9_-]{1,63}(?<!-)$/i.test(label));
}
