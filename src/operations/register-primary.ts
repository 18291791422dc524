/** Primaries of a secondary: where they listen, and the API keys that we show them. */
import type { App } from "../app.ts";
import { sealApiKey } from "../companies/api-key.ts";
import type { Company } from "../companies/company.ts";
import { addCompany, setSyncCredentials } from "../companies/company-store.ts";
import { checkSyncAddress, type SyncTarget } from "../companies/sync-address.ts";
import { requireSecret } from "../config/secrets.ts";
import { SandpiperError } from "../errors.ts";
import { checkName } from "../names.ts";
import { checkPrimary } from "../sync/transport/primary-client.ts";
import type { Actor } from "./actor.ts";
import { partnerFor } from "./find.ts";
import { requireRole } from "./role.ts";

/** A primary that has taken our API key. */
export interface CheckedPrimary {
  company: Company;
  syncAddr: string;
  /** The id under which it has us on file; another than our own is worth a question. */
  knownThereAs: string;
}

/**
 * Registers a primary, on a secondary: logs in there with the API key that it gave us, and stores both.
 *
 * @param input.apiKey asked for when all else is right.
 * @throws as a login does; `conflict` when its name or id is taken, or the id is ours; `usage` for a bad name or address.
 */
export async function registerPrimary(
  app: App,
  actor: Actor,
  input: { name: string; address: string; apiKey: () => Promise<string> },
): Promise<CheckedPrimary> {
  requireRole(app, "secondary", "`company add --sync-addr`");
  checkName("company", input.name);
  const target = targetOf(app, actor, input.address);
  const partnerKey = requireSecret(app.config, "partner_key");
  const apiKey = await input.apiKey();
  const { serverId, companyId } = await checkPrimary(target, apiKey);
  if (serverId === app.server.serverId) {
    throw new SandpiperError("conflict", `${target.url} has the id of this server itself`, {
      hint: "Give the primary's address; two servers must not have the same id.",
    });
  }
  const sealed = sealApiKey(apiKey, serverId, partnerKey);
  const company = await addCompany(app.db, { id: serverId, name: input.name, target, sealed });
  return { company, syncAddr: target.url, knownThereAs: companyId };
}

/**
 * Stores a primary's new API key, and its new address if there is one, once it has taken the key there.
 *
 * @param input.address without it, the one on file, with the rights that it has.
 * @throws as a login does; `conflict` when another server answers there; `usage` without an address.
 */
export async function rekeyPrimary(
  app: App,
  actor: Actor,
  input: { company: string; address?: string; apiKey: () => Promise<string> },
): Promise<CheckedPrimary> {
  requireRole(app, "secondary", "storing a primary's API key");
  const company = await partnerFor(app, actor, input.company);
  const target = input.address === undefined ? targetOnFile(company) : targetOf(app, actor, input.address);
  const partnerKey = requireSecret(app.config, "partner_key");
  const apiKey = await input.apiKey();
  const { serverId, companyId } = await checkPrimary(target, apiKey);
  if (serverId !== company.id) {
    throw new SandpiperError(
      "conflict",
      `${target.url} is the server ${serverId}, not ${company.name} (${company.id})`,
      { hint: "Check the address, or register that server with `sandpiper company add`." },
    );
  }
  await setSyncCredentials(app.db, company.id, sealApiKey(apiKey, company.id, partnerKey), target);
  return { company, syncAddr: target.url, knownThereAs: companyId };
}

/** Puts a primary on file without a key, on a secondary: nothing is synced before {@link rekeyPrimary}. @throws as {@link addCompany}. */
export async function recordPrimary(
  app: App,
  actor: Actor,
  { address, ...input }: { name: string; id?: string; address?: string },
): Promise<Company> {
  const target = address === undefined ? undefined : targetOf(app, actor, address);
  requireRole(app, "secondary", "putting a primary on file");
  return addCompany(app.db, { ...input, target });
}

/**
 * Where a primary listens, by somebody's word. An operator's may lead to a private network; what comes over the network, only where the
 * configuration allows it.
 *
 * @throws `usage` unless that may be an address, and on a primary.
 */
export function targetOf({ server, config }: App, actor: Actor, address: string): SyncTarget {
  if (server.role !== "secondary")
    throw new SandpiperError("usage", "a primary calls nobody: its partners have no sync address");
  const mayBePrivate = actor === "operator" || config.server.allow_private_addresses;
  return { url: checkSyncAddress(address, mayBePrivate), mayBePrivate };
}

function targetOnFile({ name, syncAddr, syncPrivate }: Company): SyncTarget {
  if (syncAddr !== null) return { url: syncAddr, mayBePrivate: syncPrivate };
  throw new SandpiperError("usage", `${name} has no sync address`, { hint: "Give it with --sync-addr URL." });
}
