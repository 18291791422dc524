/** /users: people who may log in. */
import type { Router } from "express";
import * as z from "zod";
import { roles } from "../../companies/company.ts";
import { countUsers, listUsers, type User } from "../../companies/user-store.ts";
import { userFor } from "../../operations/find.ts";
import { createUser, deleteUser, editUser } from "../../operations/users.ts";
import type { ServerContext } from "../context.ts";
import { shortText } from "../http/strict-json.ts";
import { created, endpoint, noContent, ok, resource } from "./endpoint.ts";
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

const newUser = z.strictObject({
  username: shortText,
  password: shortText,
  email: shortText.optional(),
  company_id: z.guid().toLowerCase().optional(),
  role: z.literal([roles["super-admin"], roles.admin, roles["company-admin"]]),
});
const userChange = z
  .strictObject({ email: shortText.optional(), active: z.boolean().optional(), password: shortText.optional() })
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
      handle: async ({ app, identity, body, wanted }) => {
        const { username: name, company_id: company, email, role } = body;
        const user = { company, name, email, role, password: async () => body.password };
        const create = () => createUser(app, identity, user);
        return created(userJson((await context.lines.passwords.use(identity.companyId, wanted, create)).user));
      },
    }),
  });

  resource(router, context, "/users/:id", {
    get: endpoint({
      allow: "people",
      handle: async ({ app, identity, params }) => ok(userJson(await userFor(app, identity, pathNumber(params.id)))),
    }),
    patch: endpoint({
      allow: "people",
      body: userChange,
      handle: async ({ app, identity, params, body, wanted }) => {
        const edit = () => editUser(app, identity, pathNumber(params.id), body);
        if (body.password === undefined) return ok(userJson(await edit()));
        return ok(userJson(await context.lines.passwords.use(identity.companyId, wanted, edit)));
      },
    }),
    delete: endpoint({
      allow: "people",
      handle: async ({ app, identity, params }) => {
        await deleteUser(app, identity, pathNumber(params.id));
        return noContent;
      },
    }),
  });
}
