/** All routes as one application: what every answer has, and what becomes of errors. */
import express, { type Express, type NextFunction, type Request, type Response } from "express";
import type { ServerContext } from "../context.ts";
import { answerProblem } from "../http/answer.ts";
import { asksForHealth, checkFraming } from "../http/framing.ts";
import { requireOwnName } from "../http/own-name.ts";
import { noSuchAddress, stopping } from "../http/problem.ts";
import { logLate, logRequests } from "../http/request-log.ts";
import { createRouter, type Routes } from "./routes.ts";

/** What answers requests: every address, at the root and under /v1. */
export function createApplication(context: ServerContext, more: readonly Routes[] = []): Express {
  const router = createRouter(context, more);
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
