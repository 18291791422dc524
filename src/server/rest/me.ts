/** GET /me: who the token says that one is; GET /server: who answers. */
import type { Router } from "express";
import type { ServerContext } from "../context.ts";
import { endpoint, ok, resource } from "./endpoint.ts";

export function meRoutes(router: Router, context: ServerContext): void {
  resource(router, context, "/me", {
    get: endpoint({
      allow: "all",
      handle: async ({ identity }) =>
        ok({
          id: identity.userId ?? 0,
          username: identity.name,
          email: identity.email ?? "",
          role: identity.role,
          company_id: identity.companyId,
          expires: identity.expiresAt.toISOString(),
        }),
    }),
  });

  const { serverId, role } = context.app.server;
  resource(router, context, "/server", {
    get: endpoint({ allow: "all", handle: async () => ok({ "server-id": serverId, "server-role": role }) }),
  });
}
