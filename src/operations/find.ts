/**
 * What somebody names, by name or id, as far as they may see it. To whoever asks over the network, what there is not and what they may not see are
 * one and the same, in the same words.
 */
import type { App } from "../app.ts";
import type { Company, Subscription } from "../companies/company.ts";
import { findCompany, requireCompany } from "../companies/company-store.ts";
import { findUser, type User } from "../companies/user-store.ts";
import { missing, SandpiperError } from "../errors.ts";
import type { Slice } from "../slices/rules/slice.ts";
import { findSlice, requireSlice } from "../slices/slice-store.ts";
import { findSubscription, requireSubscription } from "../subscriptions/subscription-store.ts";
import { type Actor, scopeOf } from "./actor.ts";

/** @throws `not_found` */
export async function sliceFor({ db }: App, actor: Actor, nameOrId: string): Promise<Slice> {
  if (actor === "operator") return requireSlice(db, nameOrId);
  return found("slice", await findSlice(db, scopeOf(actor), nameOrId));
}

/** @throws `not_found` */
export async function subscriptionFor({ db }: App, actor: Actor, nameOrId: string): Promise<Subscription> {
  if (actor === "operator") return requireSubscription(db, nameOrId);
  return found("subscription", await findSubscription(db, nameOrId, scopeOf(actor)));
}

/** @throws `not_found` */
export async function companyFor({ db }: App, actor: Actor, nameOrId: string): Promise<Company> {
  if (actor === "operator") return requireCompany(db, nameOrId);
  return found("company", await findCompany(db, nameOrId, scopeOf(actor)));
}

/** A company that is not our own. @throws `not_found`, and `usage` for our own. */
export async function partnerFor(app: App, actor: Actor, nameOrId: string): Promise<Company> {
  const company = await companyFor(app, actor, nameOrId);
  if (company.id !== app.server.serverId) return company;
  throw new SandpiperError("usage", `${company.name} is this server's own company`, {
    hint: "Name a partner; `sandpiper company list` shows them.",
  });
}

/** @throws `not_found` */
export async function userFor({ db }: App, actor: Actor, id: number): Promise<User> {
  return found("user", await findUser(db, scopeOf(actor), id));
}

function found<T>(what: string, one: T | undefined): T {
  if (one === undefined) throw missing(what);
  return one;
}
