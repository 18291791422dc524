/** Partners of a primary, and the API keys that they log in with. */
import type { App } from "../app.ts";
import type { Company } from "../companies/company.ts";
import { addApiKey, addCompany } from "../companies/company-store.ts";
import { requireSecret } from "../config/secrets.ts";
import type { Actor } from "./actor.ts";
import { partnerFor } from "./find.ts";
import { requireRole } from "./role.ts";

/** A partner with a new API key, which is told this once. */
export interface IssuedKey {
  company: Company;
  apiKey: string;
}

/** Shows the key. What it throws undoes all: a key that nobody has seen is not kept. */
type Show = (issued: IssuedKey) => Promise<void>;

/** Registers a partner and gives it an API key, on a primary. @throws `conflict` when its name or id is taken, `usage` for a bad name. */
export async function registerPartner(app: App, input: { name: string; id?: string }, show?: Show): Promise<IssuedKey> {
  requireRole(app, "primary", "`company add` without --sync-addr");
  return issue(app, show, (tx) => addCompany(tx, input));
}

/**
 * Gives a partner a new API key, on a primary. The old one works until the new one is used.
 *
 * @throws `usage` for our own company, which logs in nowhere.
 */
export async function rekeyPartner(app: App, actor: Actor, nameOrId: string, show?: Show): Promise<IssuedKey> {
  requireRole(app, "primary", "issuing an API key");
  const company = await partnerFor(app, actor, nameOrId);
  return issue(app, show, async () => company);
}

function issue(
  { config, db }: App,
  show: Show | undefined,
  partner: (tx: Parameters<typeof addCompany>[0]) => Promise<Company>,
): Promise<IssuedKey> {
  const hmacKey = requireSecret(config, "api_key_hmac");
  return db.transaction(async (tx) => {
    const company = await partner(tx);
    const issued = { company, apiKey: await addApiKey(tx, company.id, hmacKey) };
    await show?.(issued);
    return issued;
  });
}
