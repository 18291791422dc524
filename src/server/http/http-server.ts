/** The HTTP server: its limits, its start and its end. What it answers is up to its caller. */
import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { BlockList, Socket } from "node:net";
import type { Duplex } from "node:stream";
import { aborted } from "../../aborted.ts";
import type { App } from "../../app.ts";
import { SandpiperError } from "../../errors.ts";
import { answerProblem } from "./answer.ts";
import { AnswerClock } from "./answer-clock.ts";
import { asksForHealth, checkFraming } from "./framing.ts";
import { Gradually, gradually } from "./gradually.ts";
import { listen } from "./listen.ts";
import { requireOwnName } from "./own-name.ts";
import { RequestError, refuseSocket, stopping } from "./problem.ts";
import { isBroken, logBroken, requestFields } from "./request-log.ts";
import { createServer } from "./tls.ts";
import { Turns } from "./turns.ts";
import type { WaitingConnections } from "./waiting-connections.ts";

export interface HttpServer {
  /** Starts to listen, and returns an address such as http://127.0.0.1:8080. @throws `usage` when the port cannot be had. */
  start(): Promise<{ url: string; port: number }>;
  /** Lets answers and upgraded connections end by themselves until `over` is aborted, then listens no more and closes what is left. */
  stop(over: AbortSignal): Promise<void>;
}

/** What it works with; a ServerContext is one. */
export interface HttpContext {
  readonly app: App;
  readonly trustedProxies: BlockList;
  readonly waiting: WaitingConnections;
  readonly stopping: AbortSignal;
}

export interface Handlers {
  request(request: IncomingMessage, response: ServerResponse): void;
  /** Takes over a connection that asks for an upgrade; the request was checked, its sender not yet. */
  upgrade?: ((request: IncomingMessage, socket: Duplex, head: Buffer) => void) | undefined;
}

const limits = {
  headersTimeout: 10_000,
  // Bodies have their own clocks (json-body.ts, ndjson.ts), since a batch may take hours.
  requestTimeout: 0,
  connectionsCheckingInterval: 1000,
  // Longer than load balancers keep theirs (60 s): who closes first must be the one that may still send.
  keepAliveTimeout: 75_000,
  maxHeaderSize: 8192,
  // Whatever NODE_OPTIONS says.
  insecureHTTPParser: false,
  // framing.ts refuses a request without one in our own words.
  requireHostHeader: false,
};
const maxRequestsPerSocket = 100;

/** Makes one; it does not listen yet. @throws `config` when its certificate cannot be read. */
export function createHttpServer(context: HttpContext, handlers: Handlers): HttpServer {
  const { app } = context;
  const work = new Work();
  const turns = new Turns();
  const clock = new AnswerClock(app.config.sync.idle_seconds * 1000);
  const requests = new Gradually();
  const httpServer = createServer(app, limits, (request, response) =>
    turns.take(response, () => {
      work.begin(response);
      clock.watch(response);
      const begin = () => {
        if (!response.closed && !isBroken(request.socket)) handlers.request(request, response);
      };
      // Whoever asks whether we are alive is answered before all others.
      if (asksForHealth(request)) begin();
      else requests.soon(begin);
    }),
  );
  context.waiting.watch(httpServer);
  httpServer.maxRequestsPerSocket = maxRequestsPerSocket;
  // What follows on such a connection gets a bare 503 of Node's. It was told to close, and has a second to do so.
  httpServer.on("dropRequest", (_request, socket) => setTimeout(() => socket.destroy(), 1000).unref());
  httpServer.on("clientError", (error: NodeJS.ErrnoException, socket) => {
    const answer = () => answerBroken(app, error, socket as Socket);
    if (error.code === "ERR_HTTP_REQUEST_TIMEOUT") gradually(answer);
    else answer();
  });
  httpServer.on("checkExpectation", (request: IncomingMessage, response: ServerResponse) => {
    app.log.info({ ...requestFields(request, context.trustedProxies), status: 417 });
    answerProblem(response, new RequestError(417, "usage", "the expectation cannot be met"));
  });
  httpServer.on("connect", (request: IncomingMessage, socket: Duplex) => {
    app.log.info({ ...requestFields(request, context.trustedProxies), code: "method" });
    socket.destroy();
  });
  const { upgrade } = handlers;
  if (upgrade !== undefined) {
    httpServer.on("upgrade", (request: IncomingMessage, socket: Duplex, head: Buffer) => {
      // Who is still being answered cannot be told anything else.
      if (turns.busy(socket)) {
        app.log.info({ ...requestFields(request, context.trustedProxies), upgrade: true, code: "usage" });
        socket.destroy();
        return;
      }
      try {
        checkFraming(request);
        requireOwnName(request, app.config.server.names);
        if (context.stopping.aborted) throw stopping();
      } catch (error) {
        app.log.info({
          ...requestFields(request, context.trustedProxies),
          upgrade: true,
          code: (error as SandpiperError).code,
        });
        refuseSocket(socket, error);
        return;
      }
      work.begin(socket);
      upgrade(request, socket, head);
    });
  }
  return {
    start: () => listen(httpServer, app.config.server),
    stop: async (over) => {
      await work.done(over);
      if (httpServer.listening) {
        const closed = once(httpServer, "close");
        httpServer.close();
        work.abort();
        httpServer.closeAllConnections();
        await closed;
      }
      clock.stop();
    },
  };
}

/** What the parser could not make a request of, or what did not arrive in time. */
function answerBroken(app: App, error: NodeJS.ErrnoException, socket: Socket): void {
  const problem =
    error.code === "HPE_HEADER_OVERFLOW"
      ? new RequestError(431, "limit", `the request's headers are larger than ${limits.maxHeaderSize} bytes`)
      : error.code === "ERR_HTTP_REQUEST_TIMEOUT"
        ? new SandpiperError("timeout", "the request did not arrive in time")
        : new SandpiperError("usage", "the request is not HTTP/1.1");
  const untold = error.code === "ECONNRESET" || logBroken(app.log, socket, problem, error.code);
  // Without TLS there is nothing to answer by.
  if (error.code?.startsWith("ERR_SSL") || error.code?.startsWith("ERR_TLS")) socket.destroy();
  else if (untold) refuseSocket(socket, problem);
  else socket.end();
}

/** What is being worked on: answers that are not sent yet, and upgraded connections. */
class Work {
  readonly #running = new Set<ServerResponse | Duplex>();
  #onIdle: (() => void) | undefined;

  begin(what: ServerResponse | Duplex): void {
    this.#running.add(what);
    what.once("close", () => {
      this.#running.delete(what);
      if (this.#running.size === 0) this.#onIdle?.();
    });
  }

  /** Waits until nothing is running, or `over` is aborted. */
  async done(over: AbortSignal): Promise<void> {
    if (this.#running.size === 0) return;
    const idle = new Promise<void>((resolve) => {
      this.#onIdle = resolve;
    });
    await Promise.race([idle, aborted(over)]);
  }

  /** Ends what is still running. */
  abort(): void {
    for (const what of this.#running) what.destroy();
  }
}
