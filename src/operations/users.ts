/** People who may log in: who may make, change and remove whom. */
import type { App } from "../app.ts";
import { type Company, roles } from "../companies/company.ts";
import { addUser, checkEmail, removeUser, type User, updateUser } from "../companies/user-store.ts";
import { SandpiperError } from "../errors.ts";
import { checkName } from "../names.ts";
import { type Actor, forbidden, scopeOf } from "./actor.ts";
import { companyFor, userFor } from "./find.ts";

/**
 * Adds a user.
 *
 * @param input.company name or id, and for whoever may name only his own, its id; without it, the actor's own.
 * @param input.password asked for when all else is right.
 * @throws `forbidden` beyond the actor's own rank or company; `usage` for an administrator of another company than our own, and for a bad name,
 * password or e-mail address; `conflict` for a name that is taken.
 */
export async function createUser(
  app: App,
  actor: Actor,
  input: { company?: string; name: string; role: number; email?: string; password: () => Promise<string> },
): Promise<{ user: User; company: Company }> {
  checkName("user", input.name);
  if (input.email !== undefined) checkEmail(input.email);
  requireRank(actor, input.role);
  const named = input.company ?? (actor === "operator" ? app.server.serverId : actor.companyId);
  const scope = scopeOf(actor);
  // By the id alone: it says nothing of which companies there are.
  if (!("all" in scope) && named !== scope.company) throw forbidden("your role manages its own company only");
  const company = await companyFor(app, actor, named);
  // An administrator sees everything: it must be one of us.
  if (input.role !== roles["company-admin"] && company.id !== app.server.serverId) {
    throw new SandpiperError("usage", `a user with the role ${nameOf(input.role)} must belong to our own company`, {
      hint: `Leave the company out, or give the role company-admin (${roles["company-admin"]}).`,
    });
  }
  const { name, role, email } = input;
  const password = await input.password();
  return { user: await addUser(app.db, { companyId: company.id, name, role, email, password }), company };
}

/** Changes what is given of a user. @throws `not_found`, `forbidden` for somebody above the actor, `usage` for a bad password or e-mail address. */
export async function editUser(
  app: App,
  actor: Actor,
  id: number,
  change: { email?: string; active?: boolean; password?: string },
): Promise<User> {
  const user = await userFor(app, actor, id);
  requireRank(actor, user.role);
  await updateUser(app.db, user.id, change);
  return userFor(app, actor, id);
}

/** @throws `not_found`, `forbidden` for somebody above the actor. */
export async function deleteUser(app: App, actor: Actor, id: number): Promise<void> {
  const user = await userFor(app, actor, id);
  requireRank(actor, user.role);
  await removeUser(app.db, user.id);
}

/** Nobody makes, changes or removes somebody above themselves; a smaller number is the higher role. */
function requireRank(actor: Actor, role: number): void {
  if (actor !== "operator" && role < actor.role) throw forbidden("that user's role is above yours");
}

const nameOf = (role: number): string => Object.entries(roles).find(([, number]) => number === role)?.[0] ?? `${role}`;
