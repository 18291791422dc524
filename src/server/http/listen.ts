/** Taking the port. */
import { once } from "node:events";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { Server as TlsServer } from "node:tls";
import { SandpiperError } from "../../errors.ts";

const reasons: Record<string, { problem: string; hint: string }> = {
  EADDRINUSE: { problem: "is in use", hint: "Stop what listens there, or choose another port with --server.port." },
  EACCES: { problem: "may not be used by this user", hint: "Choose a port above 1023 with --server.port." },
  EADDRNOTAVAIL: {
    problem: "is not an address of this machine",
    hint: "Give an address of this machine with --server.host, and a port with --server.port.",
  },
  ENOTFOUND: {
    problem: "is not an address of this machine",
    hint: "Give an address of this machine with --server.host.",
  },
};

/** Connections that the system holds for us until we take them: with Node's 511, a crowd makes everybody else dial again, a second later or three. */
const backlog = 4096;

/** @throws `usage` when the address cannot be had. */
export async function listen(
  httpServer: Server,
  { host, port }: { host: string; port: number },
): Promise<{ url: string; port: number }> {
  httpServer.listen({ host, port, backlog });
  try {
    await once(httpServer, "listening");
  } catch (cause) {
    const reason = reasons[(cause as NodeJS.ErrnoException).code ?? ""];
    if (reason === undefined) throw cause;
    throw new SandpiperError("usage", `cannot listen: ${host}:${port} ${reason.problem}`, { cause, hint: reason.hint });
  }
  const taken = (httpServer.address() as AddressInfo).port;
  const wildcard = host === "0.0.0.0" || host === "::";
  const name = wildcard ? "127.0.0.1" : host.includes(":") ? `[${host}]` : host;
  return { url: `${httpServer instanceof TlsServer ? "https" : "http"}://${name}:${taken}`, port: taken };
}
