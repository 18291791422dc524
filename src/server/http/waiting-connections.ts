/**
 * What a stranger may hold: connections on which we wait for the head of a first request, or for the body of one whose sender is not known; and
 * connections that are kept open between requests. All of it is counted by address.
 */
import type { IncomingMessage, Server } from "node:http";
import type { BlockList, Socket } from "node:net";
import type { Logger } from "../../log.ts";
import { clientAddress, isTrusted, rateKey } from "./client-address.ts";
import { gradually } from "./gradually.ts";

/** Of one address: connections that wait for it, and connections that are kept open for a next request. */
const most = 256;
/** Many that come at once have not had the time to say anything. */
const graceMs = 1000;
const logEveryMs = 60_000;

interface Waiting {
  address: string;
  socket: Socket;
  sinceMs: number;
}

/** An address that has too many; what is said of it when they are gone. */
interface Crowd {
  most: number;
  closed: number;
  /** How long one of those was waited for that were closed for being too many, and of all others. */
  closedMs: number;
  heldMs: number;
}

export class WaitingConnections {
  /** By address and port of the socket: with TLS the socket of a request is another one than that of its connection. */
  readonly #waiting = new Map<string, Waiting>();
  readonly #perAddress = new Map<string, number>();
  readonly #open = new Map<string, number>();
  readonly #crowds = new Map<string, Crowd>();
  #toldMs = Number.NEGATIVE_INFINITY;

  constructor(
    private readonly log: Logger,
    private readonly trusted: BlockList,
  ) {}

  /** Counts the connections of a server, and closes those that are too many. Connections of our own proxies are theirs to limit. */
  watch(server: Server): void {
    server.on("connection", (socket: Socket) => {
      const id = idOf(socket);
      const address = this.#counted(socket);
      if (address !== undefined) {
        add(this.#open, address, 1);
        this.#begin(id, address, socket);
      }
      socket.once("close", () => {
        this.#end(id);
        if (address !== undefined) add(this.#open, address, -1);
      });
    });
    const heard = ({ socket }: IncomingMessage) => this.#end(idOf(socket));
    // First of all: whoever answers the request may begin to wait for its body.
    for (const event of ["request", "upgrade", "checkExpectation"]) server.prependListener(event, heard);
  }

  /** Whether the address of the request has so many connections that this one is not to be kept open after its answer. */
  crowded({ socket }: IncomingMessage): boolean {
    return (this.#open.get(this.#counted(socket) ?? "") ?? 0) > most;
  }

  /** Counts the connection of a request whose sender is not known, until what is returned is called. */
  body(request: IncomingMessage): () => void {
    const id = idOf(request.socket);
    this.#begin(id, rateKey(clientAddress(request, this.trusted)), request.socket);
    return () => this.#end(id);
  }

  #counted(socket: Socket): string | undefined {
    return isTrusted(socket, this.trusted) ? undefined : rateKey(socket.remoteAddress);
  }

  #begin(id: string, address: string, socket: Socket): void {
    this.#waiting.set(id, { address, socket, sinceMs: performance.now() });
    const count = add(this.#perAddress, address, 1);
    if (count <= most) return;
    const crowd = this.#crowds.get(address) ?? { most: 0, closed: 0, closedMs: 0, heldMs: 0 };
    this.#crowds.set(address, { ...crowd, most: Math.max(crowd.most, count) });
    const late = setTimeout(gradually, graceMs, () => this.#judge(id));
    socket.once("close", () => clearTimeout(late));
  }

  /** One more than there may be has had its second. */
  #judge(id: string): void {
    const waiting = this.#waiting.get(id);
    if (waiting === undefined || this.#perAddress.get(waiting.address)! <= most) return;
    const { address, socket } = waiting;
    this.#crowds.get(address)!.closed++;
    this.#end(id, "closedMs");
    socket.destroy();
    if (performance.now() - this.#toldMs < logEveryMs) return;
    this.#toldMs = performance.now();
    this.log.warn({ event: "server.too_many_silent", peer: address });
  }

  #end(id: string, how: "closedMs" | "heldMs" = "heldMs"): void {
    const waiting = this.#waiting.get(id);
    if (waiting === undefined) return;
    this.#waiting.delete(id);
    const { address, sinceMs } = waiting;
    const left = add(this.#perAddress, address, -1);
    const crowd = this.#crowds.get(address);
    if (crowd === undefined) return;
    crowd[how] = Math.max(crowd[how], Math.round(performance.now() - sinceMs));
    if (left > 0) return;
    this.#crowds.delete(address);
    const { closed, closedMs, heldMs } = crowd;
    this.log.info({
      event: "server.silent_gone",
      peer: address,
      most: crowd.most,
      closed,
      closed_ms: closedMs,
      held_ms: heldMs,
    });
  }
}

const idOf = ({ remoteAddress, remotePort }: Socket): string => `${remoteAddress} ${remotePort}`;

/** @returns the new count; those of 0 are not kept. */
function add(counts: Map<string, number>, address: string, n: 1 | -1): number {
  const count = (counts.get(address) ?? 0) + n;
  if (count > 0) counts.set(address, count);
  else counts.delete(address);
  return count;
}
