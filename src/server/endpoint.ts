/** A route as its resource's file declares it: who may, where, with what query and body; and what it does. */
import type { Request, Response, Router } from "express";
import { z } from "zod";
import type { Database } from "../database.ts";
import { SandpiperError } from "../errors.ts";
import type { Scope } from "../scope.ts";
import type { ServerRole } from "../subscriptions/company.ts";
import { type Access, requireAccess, scopeOf } from "./access.ts";
import { answer, answerJson } from "./answer.ts";
import { authenticateRequest } from "./authenticate.ts";
import { queryPairs, splitAddress } from "./framing.ts";
import { readJson } from "./json-body.ts";
import { RequestError } from "./problem.ts";
import type { ServerContext } from "./server-context.ts";
import { checkShape } from "./strict-json.ts";
import type { Identity } from "./token.ts";

/** What is answered. Without `json`, nothing but the status. */
export interface Reply {
  status: number;
  json?: unknown;
}

export const ok = (json: unknown): Reply => ({ status: 200, json });
export const created = (json: unknown): Reply => ({ status: 201, json });
export const noContent: Reply = { status: 204 };

/** A request whose query and body were checked. */
export interface PublicCall<Query, Body> {
  context: ServerContext;
  db: Database;
  params: Readonly<Record<string, string>>;
  query: Query;
  body: Body;
  request: Request;
  response: Response;
}

/** A request whose sender is known. */
export interface Call<Query, Body> extends PublicCall<Query, Body> {
  identity: Identity;
  /** What the sender may see. */
  scope: Scope;
}

interface Input<Query, Body> {
  /** Without one, every query parameter is refused. */
  query?: z.ZodType<Query>;
  /** Without one, a body is ignored, or read by `handle` itself. */
  body?: z.ZodType<Body>;
  maxBodyBytes?: number;
}

export type Handler = (request: Request, response: Response, context: ServerContext) => Promise<void>;

/** A route for everybody, without a token. `handle` returns undefined when it has answered itself. */
export function publicEndpoint<Query = object, Body = undefined>(
  options: Input<Query, Body> & { handle: (call: PublicCall<Query, Body>) => Promise<Reply> },
): Handler {
  return async (request, response, context) =>
    await reply(response, await options.handle(await takeInput(request, response, context, options)));
}

/** A route for those who have a token and whose role suffices. `handle` returns undefined when it has answered itself. */
export function endpoint<Query = object, Body = undefined>(
  options: Input<Query, Body> & {
    allow: Access;
    /** The role of server that this makes sense on. */
    on?: ServerRole;
    handle: (call: Call<Query, Body>) => Promise<Reply | undefined>;
  },
): Handler {
  return async (request, response, context) => {
    const identity = await authenticateRequest(request, context);
    response.locals.companyId = identity.companyId;
    requireAccess(identity, options.allow);
    requireServerRole(context, options.on);
    const call = await takeInput(request, response, context, options);
    const scope = scopeOf(identity);
    await reply(response, await options.handle({ ...call, db: call.db.as(scope), identity, scope }));
  };
}

async function takeInput<Query, Body>(
  request: Request,
  response: Response,
  context: ServerContext,
  { query, body, maxBodyBytes }: Input<Query, Body>,
): Promise<PublicCall<Query, Body>> {
  return {
    context,
    db: context.app.db,
    params: request.params as Record<string, string>,
    query: readQuery(request, query ?? (z.strictObject({}) as unknown as z.ZodType<Query>)),
    body: body === undefined ? (undefined as Body) : await readJson(request, body, maxBodyBytes),
    request,
    response,
  };
}

function readQuery<Query>(request: Request, schema: z.ZodType<Query>): Query {
  const values = new Map<string, string>();
  for (const [name, value] of queryPairs(splitAddress(request.url)[1])) {
    if (values.has(name)) throw new SandpiperError("usage", "the query names a parameter twice");
    values.set(name, value);
  }
  return checkShape(schema, Object.fromEntries(values), "the query");
}

async function reply(response: Response, { status, json }: Reply = { status: 0 }): Promise<void> {
  if (status === 0) return;
  if (json === undefined) answer(response, status);
  else await answerJson(response, status, json);
}

/** @throws `usage` on a server of the other role. */
function requireServerRole({ app }: ServerContext, role: ServerRole | undefined): void {
  if (role === undefined || role === app.server.role) return;
  throw new SandpiperError("usage", `this works on a ${role} only, and this server is a ${app.server.role}`, {
    hint: role === "primary" ? "Data on a secondary is an exact copy: change it at its primary." : undefined,
  });
}

type Method = "get" | "post" | "put" | "patch" | "delete";

/** Adds a path with its methods; any other method gets 405 and is told which there are. */
export function resource(
  router: Router,
  context: ServerContext,
  path: string,
  methods: Partial<Record<Method, Handler>>,
): void {
  const route = router.route(path);
  for (const [method, handler] of Object.entries(methods) as [Method, Handler][]) {
    route[method]((request: Request, response: Response) => handler(request, response, context));
  }
  const allow = Object.keys(methods).flatMap((method) => (method === "get" ? ["GET", "HEAD"] : [method.toUpperCase()]));
  route.all(() => {
    throw new RequestError(405, "method", "this address does not take that method", {
      headers: { allow: allow.join(", ") },
    });
  });
}
