/** On which kind of server something is done. */
import type { App } from "../app.ts";
import type { ServerRole } from "../companies/company.ts";
import { SandpiperError } from "../errors.ts";
import type { Actor } from "./actor.ts";

/** @throws `usage` on a server of the other role; `doing` begins "… is only possible on a primary". */
export function requireRole({ server }: Pick<App, "server">, role: ServerRole, doing: string): void {
  if (server.role === role) return;
  throw new SandpiperError(
    "usage",
    `${doing} is only possible on a ${role}; this is the ${server.role} of ${server.companyName}`,
    {
      hint: `Do it at the ${role}; on the command line, --config FILE names its configuration.`,
    },
  );
}

/**
 * For removing what is a copy on a secondary, and would come back with the next sync: there it is for the operator of the machine alone.
 *
 * @throws `usage` as {@link requireRole}.
 */
export function requirePrimaryUnlessOperator(app: Pick<App, "server">, actor: Actor, doing: string): void {
  if (actor !== "operator") requireRole(app, "primary", doing);
}
