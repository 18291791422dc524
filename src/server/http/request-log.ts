/** One line a request, when it is over. Never a query, a header, a body or a token. */
import type { IncomingMessage } from "node:http";
import type { BlockList, Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { NextFunction, Request, Response } from "express";
import { SandpiperError } from "../../errors.ts";
import type { Logger } from "../../log.ts";
import { clientAddress } from "./client-address.ts";
import { splitAddress } from "./framing.ts";

/** Requests that are being answered, by their connections. */
const inWork = new WeakMap<Duplex, Response>();
/** Connections of which it was logged that they carry no request. */
const broken = new WeakSet<Duplex>();

/**
 * Notes that the rest of a connection is no HTTP. One line a request: if one is being answered on it, the line of that will say it.
 *
 * @returns whether the client is still to be told.
 */
export function logBroken(log: Logger, socket: Socket, error: SandpiperError, reason: string | undefined): boolean {
  const response = inWork.get(socket);
  if (response !== undefined) {
    if (response.headersSent) return false;
    response.locals.error = error;
    return true;
  }
  if (broken.has(socket)) return false;
  broken.add(socket);
  log.info({ event: "http.request", peer: socket.remoteAddress, code: error.code, reason });
  return true;
}

/** Whether a connection was found not to carry HTTP, and that is logged: a request that is still to be begun on it has been answered. */
export const isBroken = (socket: Duplex): boolean => broken.has(socket);

/** Express middleware; what went wrong is left in `response.locals.error` by the error handler. */
export function logRequests(log: Logger, trusted: BlockList) {
  return (request: Request, response: Response, next: NextFunction): void => {
    const begun = performance.now();
    const about = requestFields(request, trusted); // express changes the address while it routes, and a closed socket has no peer
    inWork.set(request.socket, response);
    response.once("close", () => {
      inWork.delete(request.socket);
      const error: unknown = response.locals.error;
      const line = {
        ...about,
        // 499: the client went away before there was an answer.
        status: response.headersSent ? response.statusCode : 499,
        ms: Math.round(performance.now() - begun),
        company: response.locals.companyId as string | undefined,
        aborted: response.writableFinished ? undefined : true,
        ...(error instanceof SandpiperError ? { code: error.code } : {}),
      };
      if (line.status >= 500) log.error({ ...line, cause: causeOf(error) });
      else if (line.aborted && error !== undefined) log.warn({ ...line, cause: causeOf(error) });
      else log.info(line);
    });
    next();
  };
}

/** What of a request may be logged. */
export const requestFields = (request: IncomingMessage, trusted: BlockList) => ({
  event: "http.request",
  method: request.method,
  path: splitAddress(request.url ?? "")[0].slice(0, 500),
  peer: clientAddress(request, trusted),
});

/** What went wrong after the client had gone, and the line of its request was written. That it had gone is no news. */
export function logLate(log: Logger, error: unknown): void {
  if (error instanceof SandpiperError && error.code === "network") return;
  log.error({ event: "http.late_error", cause: causeOf(error) });
}

/** The messages of an error and its causes, and the stack of the innermost. */
function causeOf(error: unknown): { messages: string[]; stack?: string } {
  const messages: string[] = [];
  let at = error;
  let stack: string | undefined;
  while (at instanceof Error && messages.length < 5) {
    messages.push(at.message);
    stack = at.stack;
    at = at.cause;
  }
  return stack === undefined ? { messages: [String(error)] } : { messages, stack };
}
