/** /subs: which company may receive which slice. */
import type { Router } from "express";
import * as z from "zod";
import type { Subscription } from "../../companies/company.ts";
import { subscriptionFor } from "../../operations/find.ts";
import { subscribe, unsubscribe } from "../../operations/subscriptions.ts";
import { maxDescriptionLength } from "../../subscriptions/rules/description.ts";
import {
  countSubscriptions,
  listSubscriptions,
  setSubscriptionActive,
} from "../../subscriptions/subscription-store.ts";
import type { ServerContext } from "../context.ts";
import { shortText } from "../http/strict-json.ts";
import { type Call, created, endpoint, noContent, ok, resource } from "./endpoint.ts";
import { listing, pageQuery } from "./paging.ts";
import { pathUuid } from "./path-id.ts";

export const subscriptionJson = (subscription: Subscription) => ({
  id: subscription.id,
  company_id: subscription.companyId,
  slice_id: subscription.sliceId,
  name: subscription.name,
  description: subscription.description,
  active: subscription.active,
  created_at: subscription.createdAt,
  updated_at: subscription.updatedAt,
});

const newSubscription = z.strictObject({
  id: z.guid().toLowerCase().optional(),
  slice_id: z.guid(),
  company_id: z.guid().toLowerCase(),
  name: shortText,
  description: z.string().max(maxDescriptionLength).optional(),
  active: z.boolean().optional(),
});

export function subscriptionRoutes(router: Router, context: ServerContext): void {
  resource(router, context, "/subs", {
    get: endpoint({
      allow: "all",
      query: pageQuery,
      handle: async ({ db, scope, query }) => {
        const subscriptions = await listSubscriptions(db, scope, {}, query);
        return ok(listing(subscriptions.map(subscriptionJson), query, await countSubscriptions(db, scope)));
      },
    }),
    post: endpoint({
      allow: "admin",
      body: newSubscription,
      handle: async ({ app, identity, body: { slice_id: slice, company_id: company, ...rest } }) =>
        created(subscriptionJson(await subscribe(app, identity, { ...rest, slice, company }))),
    }),
  });

  resource(router, context, "/subs/name/:name", {
    get: endpoint({
      allow: "all",
      handle: async ({ app, identity, params }) =>
        ok(subscriptionJson(await subscriptionFor(app, identity, params.name!))),
    }),
  });

  resource(router, context, "/subs/:id", {
    get: endpoint({ allow: "all", handle: async (call) => ok(subscriptionJson(await requested(call))) }),
    patch: endpoint({
      // Each side has its own switch, so this works on both.
      allow: "admin",
      body: z.strictObject({ active: z.boolean() }),
      handle: async (call) => {
        const { key } = await requested(call);
        await setSubscriptionActive(call.db, key, call.body.active);
        return ok(subscriptionJson(await requested(call)));
      },
    }),
    delete: endpoint({
      allow: "admin",
      handle: async ({ app, identity, params }) => {
        await unsubscribe(app, identity, pathUuid(params.id));
        return noContent;
      },
    }),
  });
}

const requested = ({ app, identity, params }: Call<unknown, unknown>): Promise<Subscription> =>
  subscriptionFor(app, identity, pathUuid(params.id));
