/** /subs: which company may receive which slice. */
import type { Router } from "express";
import { z } from "zod";
import type { Subscription } from "../../companies/company.ts";
import { findCompany } from "../../companies/company-store.ts";
import { SandpiperError } from "../../errors.ts";
import { findSlice } from "../../slices/slice-store.ts";
import {
  addSubscription,
  countSubscriptions,
  findSubscription,
  listSubscriptions,
  removeSubscription,
  setSubscriptionActive,
} from "../../subscriptions/subscription-store.ts";
import type { ServerContext } from "../context.ts";
import { missing } from "../http/problem.ts";
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
  description: z.string().max(1000).optional(),
  active: z.boolean().optional(),
});

export function subscriptionRoutes(router: Router, context: ServerContext): void {
  const { server } = context.app;

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
      on: "primary",
      body: newSubscription,
      handle: async ({ db, scope, body }) => {
        const slice = await findSlice(db, scope, body.slice_id);
        if (slice === undefined) throw missing("slice");
        const company = await findCompany(db, body.company_id, scope);
        if (company === undefined) throw missing("company");
        if (company.id === server.serverId) {
          throw new SandpiperError("usage", "this server's own company does not subscribe: it has the data");
        }
        const { slice_id: _slice, company_id: _company, ...rest } = body;
        const added = await addSubscription(db, { ...rest, companyId: company.id, sliceKey: slice.key });
        return created(subscriptionJson(added));
      },
    }),
  });

  resource(router, context, "/subs/name/:name", {
    get: endpoint({
      allow: "all",
      handle: async ({ db, scope, params }) =>
        ok(subscriptionJson(found(await findSubscription(db, params.name!, scope)))),
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
      on: "primary",
      handle: async (call) => {
        const { key } = await requested(call);
        await removeSubscription(call.db, key);
        return noContent;
      },
    }),
  });
}

const requested = async ({ db, scope, params }: Call<unknown, unknown>) =>
  found(await findSubscription(db, pathUuid(params.id), scope));

function found(subscription: Subscription | undefined): Subscription {
  if (subscription === undefined) throw missing("subscription");
  return subscription;
}
