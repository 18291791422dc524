/** One request at a time on a connection: those that a client sends before it has its answer (pipelining) are held until it is their turn. */
import type { ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import { rateKey } from "./client-address.ts";

/** Of one address, over all its connections; a connection that goes beyond is cut. */
const mostHeld = 256;

interface Connection {
  address: string;
  answering: boolean;
  held: (() => void)[];
}

export class Turns {
  readonly #connections = new WeakMap<Duplex, Connection>();
  /** How many requests are held, by address. */
  readonly #held = new Map<string, number>();

  /** Whether a request of this connection is being answered. */
  busy(socket: Duplex): boolean {
    return this.#connections.get(socket)?.answering === true;
  }

  /** Lets `begin` answer the request once those before it are answered; never when the connection is closed first. */
  take(response: ServerResponse, begin: () => void): void {
    const { socket } = response.req;
    const connection = this.#connections.get(socket) ?? this.#meet(socket);
    const answer = () => {
      connection.answering = true;
      response.once("close", () => {
        connection.answering = false;
        if (!socket.destroyed) this.#next(connection);
      });
      begin();
    };
    if (!connection.answering) answer();
    else if ((this.#held.get(connection.address) ?? 0) >= mostHeld) socket.destroy();
    else {
      this.#count(connection, 1);
      connection.held.push(answer);
    }
  }

  #meet(socket: ServerResponse["req"]["socket"]): Connection {
    const connection: Connection = { address: rateKey(socket.remoteAddress), answering: false, held: [] };
    this.#connections.set(socket, connection);
    socket.once("close", () => {
      this.#count(connection, -connection.held.length);
      connection.held = [];
    });
    return connection;
  }

  #next(connection: Connection): void {
    const next = connection.held.shift();
    if (next === undefined) return;
    this.#count(connection, -1);
    next();
  }

  #count({ address }: Connection, n: number): void {
    const held = (this.#held.get(address) ?? 0) + n;
    if (held > 0) this.#held.set(address, held);
    else this.#held.delete(address);
  }
}
