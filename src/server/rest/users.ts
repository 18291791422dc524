/** /users: people who may log in. */
import type { Router } from "express";
import { z } from "zod";
import { roles } from "../../companies/company.ts";
import { findCompany } from "../../companies/company-store.ts";
import {
  addUser,
  countUsers,
  findUser,
  listUsers,
  removeUser,
  type User,
  updateUser,
} from "../../companies/user-store.ts";
import { SandpiperError } from "../../errors.ts";
import type { CompanyId } from "../../ids.ts";
import { forbidden } from "../auth/access.ts";
import type { Identity } from "../auth/token.ts";
import type { ServerContext } from "../context.ts";
import { missing } from "../http/problem.ts";
import { shortText } from "../http/strict-json.ts";
import { type Call, created, endpoint, noContent, ok, resource } from "./endpoint.ts";
import { listing, pageQuery } from "./paging.ts";
import { pathNumber } from "./path-id.ts";

const userJson = (user: User) => ({
  id: user.id,
  username: user.name,
  email: user.email,
  role: user.role,
  company_id: user.companyId,
  active: user.active,
  created_at: user.createdAt,
});

const email = z.string().max(320);
const newUser = z.strictObject({
  username: shortText,
  password: shortText,
  email: email.optional(),
  company_id: z.guid().toLowerCase().optional(),
  role: z.literal([roles["super-admin"], roles.admin, roles["company-admin"]]),
});
const userChange = z
  .strictObject({ email: email.optional(), active: z.boolean().optional(), password: shortText.optional() })
  .refine((change) => Object.keys(change).length > 0, "nothing to change is named");

export function userRoutes(router: Router, context: ServerContext): void {
  resource(router, context, "/users", {
    get: endpoint({
      allow: "people",
      query: pageQuery,
      handle: async ({ db, scope, query }) =>
        ok(listing((await listUsers(db, scope, query)).map(userJson), query, await countUsers(db, scope))),
    }),
    post: endpoint({
      allow: "people",
      body: newUser,
      handle: async ({ db, scope, identity, body, wanted }) => {
        requireRank(identity, body.role);
        const companyId = (body.company_id ?? identity.companyId) as CompanyId;
        if (!("all" in scope) && companyId !== scope.company) throw forbidden("your role manages its own company only");
        // An administrator sees everything: it must be one of us.
        if (body.role !== roles["company-admin"] && companyId !== context.app.server.serverId) {
          throw new SandpiperError("usage", "an administrator belongs to this server's own company", {
            hint: `Give it the role ${roles["company-admin"]}, or leave company_id out.`,
          });
        }
        if ((await findCompany(db, companyId, scope)) === undefined) throw missing("company");
        const user = { companyId, name: body.username, email: body.email, role: body.role, password: body.password };
        const add = () => addUser(db, user);
        return created(userJson(await context.lines.passwords.use(identity.companyId, wanted, add)));
      },
    }),
  });

  resource(router, context, "/users/:id", {
    get: endpoint({ allow: "people", handle: async (call) => ok(userJson(await requested(call))) }),
    patch: endpoint({
      allow: "people",
      body: userChange,
      handle: async (call) => {
        const user = await requested(call);
        requireRank(call.identity, user.role);
        const update = () => updateUser(call.db, user.id, call.body);
        if (call.body.password === undefined) await update();
        else await context.lines.passwords.use(call.identity.companyId, call.wanted, update);
        return ok(userJson(await requested(call)));
      },
    }),
    delete: endpoint({
      allow: "people",
      handle: async (call) => {
        const user = await requested(call);
        requireRank(call.identity, user.role);
        await removeUser(call.db, user.id);
        return noContent;
      },
    }),
  });
}

async function requested({ db, scope, params }: Call<unknown, unknown>): Promise<User> {
  const user = await findUser(db, scope, pathNumber(params.id));
  if (user === undefined) throw missing("user");
  return user;
}

/** Nobody makes, changes or removes somebody above themselves; a smaller number is the higher role. */
function requireRank(identity: Identity, role: number): void {
  if (role < identity.role) throw forbidden("that user's role is above yours");
}
