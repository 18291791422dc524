/** Which role may use a route. What it sees: `scopeOf` (operations/actor.ts), put to use by database/scope.ts and row-level security. Who may sync: server/upgrade.ts. */
import { roles } from "../../companies/company.ts";
import { forbidden, isAdmin } from "../../operations/actor.ts";
import type { Identity } from "./token.ts";

/** Who may use a route: everybody with a token, people (not partners' programs), or administrators of the whole server. */
export type Access = "all" | "people" | "admin";

/** @throws `forbidden` unless the role is high enough. Says nothing about what was asked for. */
export function requireAccess(identity: Identity, access: Access): void {
  if (access === "admin" && !isAdmin(identity)) throw forbidden();
  if (access === "people" && identity.role === roles.sync) throw forbidden();
}
