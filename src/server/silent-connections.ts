/** Connections that have not said what they want: nobody may hold many of them. */
import type { Server } from "node:http";
import type { Socket } from "node:net";
import type { Logger } from "../log.ts";
import { rateKey } from "./client-address.ts";

const maxSilent = 256;
/** Many that come at once have not had the time to say anything. */
const graceMs = 1000;
const logEveryMs = 60_000;

/** Closes connections whose address has too many that are yet to send the head of a request; they have a second for it. */
export function limitSilent(server: Server, log: Logger): void {
  /** Ports of the silent ones, by address. */
  const silent = new Map<string, Set<number>>();
  let toldMs = Number.NEGATIVE_INFINITY;
  const heard = (address: string, port: number) => {
    const ports = silent.get(address);
    ports?.delete(port);
    if (ports?.size === 0) silent.delete(address);
  };
  const judge = (socket: Socket, address: string, port: number) => {
    const ports = silent.get(address);
    if (ports === undefined || !ports.has(port) || ports.size <= maxSilent) return;
    socket.destroy();
    heard(address, port);
    if (performance.now() - toldMs < logEveryMs) return;
    toldMs = performance.now();
    log.warn({ event: "server.too_many_silent", peer: address });
  };
  server.on("connection", (socket: Socket) => {
    const { remotePort = 0 } = socket;
    const address = rateKey(socket.remoteAddress);
    const ports = silent.get(address) ?? new Set();
    silent.set(address, ports.add(remotePort));
    const late = ports.size > maxSilent ? setTimeout(judge, graceMs, socket, address, remotePort) : undefined;
    socket.once("close", () => {
      clearTimeout(late);
      heard(address, remotePort);
    });
  });
  // With TLS the socket of a request is another one; its port is not.
  const spoke = ({ socket }: { socket: Socket }) => heard(rateKey(socket.remoteAddress), socket.remotePort ?? 0);
  for (const event of ["request", "upgrade", "checkExpectation"]) server.on(event, spoke);
}
