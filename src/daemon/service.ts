/** What the daemon is made of. */
import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import type { Routes } from "../server/rest/routes.ts";

/** A part of the daemon: what it adds to the one listener, what it starts, and how that ends. A service has what it needs of these. */
export interface Service {
  /** Its addresses. */
  readonly routes?: Routes;
  /** Takes over connections that ask to be upgraded: one service does. */
  upgrade?(request: IncomingMessage, socket: Duplex, head: Buffer): void;
  start?(): Promise<void> | void;
  /** Ends what it started: by itself until `over` is aborted, from then on at once. The context's `stopping` was aborted before. */
  stop?(over: AbortSignal): Promise<void> | void;
}
