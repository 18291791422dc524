/** Which role may use a route, and what it sees. Who may change which user is in users.ts, who may sync in upgrade.ts. */

import { roles } from "../../companies/company.ts";
import { everything, type Scope } from "../../database/scope.ts";
import { SandpiperError } from "../../errors.ts";
import type { Identity } from "./token.ts";

/** Who may use a route: everybody with a token, people (not partners' programs), or administrators of the whole server. */
export type Access = "all" | "people" | "admin";

const isAdmin = (identity: Identity) => identity.role === roles.admin || identity.role === roles["super-admin"];

/** What the caller may see: administrators everything, all others what concerns their own company, which their token names. */
export const scopeOf = (identity: Identity): Scope =>
  isAdmin(identity) ? everything : { company: identity.companyId };

/** @throws `forbidden` unless the role is high enough. Says nothing about what was asked for. */
export function requireAccess(identity: Identity, access: Access): void {
  if (access === "admin") requireAdmin(identity);
  else if (access === "people" && identity.role === roles.sync) throw forbidden();
}

/** @throws `forbidden` for all but administrators. */
function requireAdmin(identity: Identity): void {
  if (!isAdmin(identity)) throw forbidden();
}

export const forbidden = (message = "your role does not permit this") =>
  new SandpiperError("forbidden", message, { hint: "Ask an administrator of this server." });
