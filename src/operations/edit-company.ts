/** What can be changed of a company on file. */
import type { App } from "../app.ts";
import type { Company } from "../companies/company.ts";
import { moveCompany, setCompanyActive } from "../companies/company-store.ts";
import type { Actor } from "./actor.ts";
import { companyFor, partnerFor } from "./find.ts";
import { targetOf } from "./register-primary.ts";

/**
 * Switches a partner or primary on or off on this side, or moves a primary, which then has no API key any more: whoever may only say where it is
 * must not get the key sent there.
 *
 * @throws `usage` for our own company, without which nobody could log in, and for a bad address.
 */
export async function editCompany(
  app: App,
  actor: Actor,
  nameOrId: string,
  { active, address }: { active?: boolean; address?: string },
): Promise<Company> {
  const { id, syncAddr } = await partnerFor(app, actor, nameOrId);
  const target = address === undefined ? undefined : targetOf(app, actor, address);
  await app.db.transaction(async (tx) => {
    if (target !== undefined && target.url !== syncAddr) await moveCompany(tx, id, target);
    if (active !== undefined) await setCompanyActive(tx, id, active);
  });
  return companyFor(app, actor, id);
}
