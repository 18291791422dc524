/** A route as its resource's file declares it: who may, where, with what query and body; and what it does. */
import type { Request, Response, Router } from "express";
import * as z from "zod";
import type { App } from "../../app.ts";
import type { ServerRole } from "../../companies/company.ts";
import type { Database } from "../../database/database.ts";
import { everything, type Scope } from "../../database/scope.ts";
import { SandpiperError } from "../../errors.ts";
import { scopeOf } from "../../operations/actor.ts";
import { requireRole } from "../../operations/role.ts";
import { type Access, requireAccess } from "../auth/access.ts";
import { claimedIdentity, requireStillValid } from "../auth/authenticate.ts";
import type { Identity } from "../auth/token.ts";
import type { ServerContext } from "../context.ts";
import { answer, answerJson } from "../http/answer.ts";
import { queryPairs, splitAddress } from "../http/framing.ts";
import { type BodyLimits, readJson } from "../http/json-body.ts";
import { RequestError } from "../http/problem.ts";
import { takePlace, whileWanted } from "../http/request-lines.ts";
import { checkShape } from "../http/strict-json.ts";

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
  /** What an operation works with; its database shows what the sender may see. */
  app: App;
  db: Database;
  params: Readonly<Record<string, string>>;
  query: Query;
  body: Body;
  request: Request;
  response: Response;
  /** Aborted when the client goes away; `db` then begins no more statements. */
  wanted: AbortSignal;
}

/** A request whose sender is known. */
export interface Call<Query, Body> extends PublicCall<Query, Body> {
  identity: Identity;
  /** What the sender may see. */
  scope: Scope;
  /** For what goes on for long. @throws `auth` when the sender's token has been ended meanwhile, other than by time. */
  stillPermitted(): Promise<void>;
}

interface Input<Query, Body> {
  /** Without one, every query parameter is refused. */
  query?: z.ZodType<Query>;
  /** Without one, a body is ignored, or read by `handle` itself. */
  body?: z.ZodType<Body>;
  /** What is larger than of an ordinary document. */
  bodyLimits?: Partial<BodyLimits>;
}

/** Of a body that a known company sends: enough for any document that names and describes something. */
const knownBody: BodyLimits = { maxBytes: 16 * 1024, withinMs: 30_000 };
/** Of a body that anybody sends. */
const strangersBody: BodyLimits = { maxBytes: 8 * 1024, withinMs: 5000 };

export type Handler = (request: Request, response: Response, context: ServerContext) => Promise<void>;

/** A route for everybody, without a token. */
export function publicEndpoint<Query = object, Body = undefined>(
  options: Input<Query, Body> & { handle: (call: PublicCall<Query, Body>) => Promise<Reply> },
): Handler {
  return async (request, response, context) => {
    const wanted = whileWanted(response);
    const arrived = options.body === undefined ? () => {} : context.waiting.body(request);
    const input = await takeInput(request, options, strangersBody).finally(arrived);
    const db = context.app.db.as(everything, wanted);
    const app = { ...context.app, db };
    reply(response, await options.handle({ app, db, request, response, wanted, ...input }));
  };
}

/** A route for those who have a token and whose role suffices. `handle` returns undefined when it has answered itself. */
export function endpoint<Query = object, Body = undefined>(
  options: Input<Query, Body> & {
    allow: Access;
    /** The role of server that this makes sense on, unless an operation says so. */
    on?: ServerRole;
    /** Whether it lasts as long as its client likes, or holds a payload. */
    lasting?: true;
    handle: (call: Call<Query, Body>) => Promise<Reply | undefined>;
  },
): Handler {
  return async (request, response, context) => {
    const wanted = whileWanted(response);
    const identity = claimedIdentity(request, context);
    const { quick, lasting } = context.lines;
    await takePlace(options.lasting ? lasting : quick, identity.companyId, response, wanted);
    await requireStillValid(identity, context);
    response.locals.companyId = identity.companyId;
    requireAccess(identity, options.allow);
    if (options.on !== undefined) requireRole(context.app, options.on, "this");
    const stillPermitted = () => requireStillValid(identity, context);
    const input = await takeInput(request, options, knownBody);
    if (options.body !== undefined) await stillPermitted(); // the body may have been a while coming
    const scope = scopeOf(identity);
    const db = context.app.db.as(scope, wanted);
    const app = { ...context.app, db };
    const call = { app, db, request, response, wanted, ...input, identity, scope, stillPermitted };
    reply(response, await options.handle(call));
  };
}

async function takeInput<Query, Body>(
  request: Request,
  { query, body, bodyLimits }: Input<Query, Body>,
  limits: BodyLimits,
): Promise<Pick<PublicCall<Query, Body>, "params" | "query" | "body">> {
  return {
    params: request.params as Record<string, string>,
    query: readQuery(request, query ?? (z.strictObject({}) as unknown as z.ZodType<Query>)),
    body: body === undefined ? (undefined as Body) : await readJson(request, body, { ...limits, ...bodyLimits }),
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

function reply(response: Response, { status, json }: Reply = { status: 0 }): void {
  if (status === 0) return;
  if (json === undefined) answer(response, status);
  else answerJson(response, status, json);
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
