/** GET /sync/subs: what a partner may receive, in one document, with what it needs to see which slices changed. */
import { createHash } from "node:crypto";
import type { Router } from "express";
import { SandpiperError } from "../errors.ts";
import { step } from "../step.ts";
import { listOffers } from "../subscriptions/subscription-store.ts";
import { endpoint, ok, resource } from "./endpoint.ts";
import type { ServerContext } from "./server-context.ts";
import { sliceJson } from "./slices.ts";
import { subscriptionJson } from "./subs.ts";

export function syncSubsRoutes(router: Router, context: ServerContext): void {
  const { max_subscriptions: most } = context.app.config.limits;
  resource(router, context, "/sync/subs", {
    get: endpoint({
      allow: "all",
      on: "primary",
      handle: async ({ db, identity, request, response }) => {
        // Switched off or not: a subscription that is missing here is one that was withdrawn. So never a part of the list, either.
        const offers = await listOffers(db, identity.companyId, most + 1);
        if (offers.length > most) {
          throw new SandpiperError("limit", `there are more than ${most} subscriptions`, {
            hint: "Raise limits.max_subscriptions at the primary.",
          });
        }
        step("p.subs");
        const etag = etagOf(offers);
        response.setHeader("etag", etag);
        if (request.headers["if-none-match"] === etag) return { status: 304 };
        return ok(offers.map(({ slice, ...offer }) => ({ ...subscriptionJson(offer), slice: sliceJson(slice) })));
      },
    }),
  });
}

/** Of what the rules of subscriptions look at: rows, names and flags. What the slices hold is compared elsewhere, and changes often. */
function etagOf(offers: Awaited<ReturnType<typeof listOffers>>): string {
  const facts = offers.map(({ id, name, description, active, slice }) => [
    id,
    name,
    description,
    active,
    slice.id,
    slice.name,
    slice.type,
  ]);
  return `"${createHash("sha256").update(JSON.stringify(facts)).digest("base64url").slice(0, 22)}"`;
}
