/** GET /sync/subs: what a partner may receive, in one document, with what it needs to see which slices changed. */
import type { Router } from "express";
import { SandpiperError } from "../../errors.ts";
import { step } from "../../step.ts";
import { type Offered, readOffers } from "../../subscriptions/offer-store.ts";
import type { ServerContext } from "../context.ts";
import { answerText, listText } from "../http/answer.ts";
import { endpoint, resource } from "./endpoint.ts";
import { sliceJson } from "./slices.ts";
import { subscriptionJson } from "./subs.ts";

export function syncSubsRoutes(router: Router, context: ServerContext): void {
  const { max_subscriptions: most } = context.app.config.limits;
  resource(router, context, "/sync/subs", {
    get: endpoint({
      allow: "all",
      on: "primary",
      handle: async ({ db, identity, request, response, wanted }) => {
        const known = /^"(.*)"$/.exec(request.headers["if-none-match"] ?? "")?.[1];
        // Switched off or not: a subscription that is missing here is one that was withdrawn. So never a part of the list, either.
        const { name, offers } = await readOffers(db, identity.companyId, known, most + 1);
        response.setHeader("etag", `"${name}"`);
        step("p.subs");
        if (offers === null) return { status: 304 };
        if (offers.length > most) {
          throw new SandpiperError("limit", `there are more than ${most} subscriptions`, {
            hint: "Raise limits.max_subscriptions at the primary.",
          });
        }
        await answerText(response, listText(documents(offers)), wanted);
        return undefined;
      },
    }),
  });
}

function* documents(offers: Iterable<Offered>) {
  for (const { slice, ...offer } of offers) yield { ...subscriptionJson(offer), slice: sliceJson(slice) };
}
