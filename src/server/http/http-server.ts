/** The HTTP server: its limits, its start and its end. Routes are in routes.ts. */
import { once } from "node:events";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import express, { type NextFunction, type Request, type Response, type Router } from "express";
import type { App } from "../../app.ts";
import { SandpiperError } from "../../errors.ts";
import { asksForHealth, stopping } from "../rest/health.ts";
import { createRouter } from "../rest/routes.ts";
import { aborted, createContext, type ServerContext } from "../server-context.ts";
import { answerProblem } from "./answer.ts";
import { AnswerClock } from "./answer-clock.ts";
import { checkFraming } from "./framing.ts";
import { Gradually, gradually } from "./gradually.ts";
import { listen } from "./listen.ts";
import { requireOwnName } from "./own-name.ts";
import { noSuchAddress, RequestError, refuseSocket } from "./problem.ts";
import { isBroken, logBroken, logLate, logRequests, requestFields } from "./request-log.ts";
import { createServer } from "./tls.ts";
import { Turns } from "./turns.ts";

export interface RunningServer {
  /** Such as http://127.0.0.1:8080. */
  url: string;
  port: number;
  httpServer: Server;
  context: ServerContext;
  /** Takes no new work, lets what runs finish until `over` is aborted (after `server.shutdown_seconds`), then closes. Twice is harmless. */
  stop(over?: AbortSignal): Promise<void>;
}

export interface ServerOptions {
  /** Takes over a connection that asks for an upgrade; the request was checked, its sender not yet. */
  onUpgrade?: (request: IncomingMessage, socket: Duplex, head: Buffer) => void;
  /** More routes, added to those of routes.ts. */
  extraRoutes?: (router: Router, context: ServerContext) => void;
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

/** Starts to listen. @throws `usage` when the port cannot be had, `config` when a secret is missing. */
export async function startServer(app: App, options: ServerOptions = {}): Promise<RunningServer> {
  const stopSignal = new AbortController();
  const context = createContext(app, stopSignal.signal);
  const work = new Work();
  const turns = new Turns();
  const clock = new AnswerClock(app.config.sync.idle_seconds * 1000);
  const handle = createApplication(context, options);
  const requests = new Gradually();
  const httpServer = createServer(app, limits, (request, response) =>
    turns.take(response, () => {
      work.begin(response);
      clock.watch(response);
      const begin = () => {
        if (!response.closed && !isBroken(request.socket)) handle(request, response);
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
  if (options.onUpgrade !== undefined) {
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
      options.onUpgrade!(request, socket, head);
    });
  }
  const { url, port } = await listen(httpServer, app.config.server);

  let stopped: Promise<void> | undefined;
  const stop = async (over: AbortSignal) => {
    stopSignal.abort();
    await work.done(over);
    const closed = once(httpServer, "close");
    httpServer.close();
    work.abort();
    httpServer.closeAllConnections();
    await closed;
    clock.stop();
  };
  return {
    url,
    port,
    httpServer,
    context,
    stop: (over = AbortSignal.timeout(app.config.server.shutdown_seconds * 1000)) => {
      stopped ??= stop(over);
      return stopped;
    },
  };
}

function createApplication(context: ServerContext, options: ServerOptions) {
  const router = createRouter(context);
  options.extraRoutes?.(router, context);
  const application = express();
  application.disable("x-powered-by").disable("etag").set("query parser", false).enable("case sensitive routing");
  application.use(logRequests(context.app.log, context.trustedProxies));
  application.use((request, response, next) => {
    response.setHeader("cache-control", "no-store");
    // All that a browser could make use of: nothing here is a page.
    response.setHeader("x-content-type-options", "nosniff");
    if (context.stopping.aborted || context.waiting.crowded(request)) response.setHeader("connection", "close");
    checkFraming(request);
    requireOwnName(request, context.app.config.server.names);
    if (context.stopping.aborted && !asksForHealth(request)) throw stopping();
    next();
  });
  application.use("/v1", router);
  application.use(router);
  application.use(() => {
    throw noSuchAddress();
  });
  application.use((error: unknown, _request: Request, response: Response, _next: NextFunction) => {
    response.locals.error = error;
    if (response.closed) logLate(context.app.log, error);
    else answerProblem(response, error);
  });
  return application;
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
