/** Which company gets which slice. Switching a subscription on or off is for both sides alike: the store does it. */
import type { App } from "../app.ts";
import type { Subscription } from "../companies/company.ts";
import { addSubscription, removeSubscription } from "../subscriptions/subscription-store.ts";
import type { Actor } from "./actor.ts";
import { partnerFor, sliceFor, subscriptionFor } from "./find.ts";
import { requirePrimaryUnlessOperator, requireRole } from "./role.ts";

/**
 * Assigns a slice to a partner, on a primary.
 *
 * @param input.slice name or id, as `input.company`.
 * @throws `usage` for our own company, which has the data, and for a bad name or description; `not_found`; `conflict` when the name is taken or
 * the partner has the slice already.
 */
export async function subscribe(
  app: App,
  actor: Actor,
  input: { slice: string; company: string; name: string; id?: string; description?: string; active?: boolean },
): Promise<Subscription> {
  requireRole(app, "primary", "`subscription add`");
  const slice = await sliceFor(app, actor, input.slice);
  const company = await partnerFor(app, actor, input.company);
  const { name, id, description, active } = input;
  return addSubscription(app.db, { companyId: company.id, sliceKey: slice.key, name, id, description, active });
}

/** Removes a subscription; the slice and its data stay. @returns what it was. @throws `not_found`, `usage` on a secondary for all but its operator. */
export async function unsubscribe(app: App, actor: Actor, nameOrId: string): Promise<Subscription> {
  requirePrimaryUnlessOperator(app, actor, "`subscription remove`");
  const subscription = await subscriptionFor(app, actor, nameOrId);
  await removeSubscription(app.db, subscription.key);
  return subscription;
}
