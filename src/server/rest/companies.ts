/** /companies: trading partners, and ourselves. */
import type { Router } from "express";
import * as z from "zod";
import type { Company } from "../../companies/company.ts";
import { countCompanies, listCompanies } from "../../companies/company-store.ts";
import { editCompany } from "../../operations/edit-company.ts";
import { companyFor } from "../../operations/find.ts";
import { registerPartner, rekeyPartner } from "../../operations/register-partner.ts";
import { recordPrimary } from "../../operations/register-primary.ts";
import { countSubscriptions, listSubscriptions } from "../../subscriptions/subscription-store.ts";
import type { ServerContext } from "../context.ts";
import { shortText } from "../http/strict-json.ts";
import { type Call, created, endpoint, ok, resource } from "./endpoint.ts";
import { listing, pageQuery } from "./paging.ts";
import { pathUuid } from "./path-id.ts";
import { subscriptionJson } from "./subs.ts";

const companyJson = (company: Company) => ({
  id: company.id,
  name: company.name,
  sync_addr: company.syncAddr ?? "",
  active: company.active,
  created_at: company.createdAt,
  updated_at: company.updatedAt,
});

export function companyRoutes(router: Router, context: ServerContext): void {
  resource(router, context, "/companies", {
    get: endpoint({
      allow: "all",
      query: pageQuery,
      handle: async ({ db, scope, query }) => {
        const companies = await listCompanies(db, scope, query);
        return ok(listing(companies.map(companyJson), query, await countCompanies(db, scope)));
      },
    }),
    post: endpoint({
      allow: "admin",
      body: z.strictObject({
        id: z.guid().toLowerCase().optional(),
        name: shortText,
        sync_addr: shortText.optional(),
      }),
      handle: async ({ app, identity, body: { sync_addr: address, ...body } }) => {
        if (app.server.role === "secondary" || address !== undefined)
          return created(companyJson(await recordPrimary(app, identity, { ...body, address })));
        const { company, apiKey } = await registerPartner(app, body);
        return created({ ...companyJson(company), api_key: apiKey });
      },
    }),
  });

  resource(router, context, "/companies/:id", {
    get: endpoint({ allow: "all", handle: async (call) => ok(companyJson(await requested(call))) }),
    patch: endpoint({
      allow: "admin",
      body: z
        .strictObject({ active: z.boolean().optional(), sync_addr: shortText.optional() })
        .refine(({ active, sync_addr }) => active !== undefined || sync_addr !== undefined, "must change something"),
      handle: async ({ app, identity, params, body: { active, sync_addr: address } }) =>
        ok(companyJson(await editCompany(app, identity, pathUuid(params.id), { active, address }))),
    }),
  });

  resource(router, context, "/companies/:id/rekey", {
    post: endpoint({
      allow: "admin",
      handle: async ({ app, identity, params }) => {
        const { company, apiKey } = await rekeyPartner(app, identity, pathUuid(params.id));
        return ok({ id: company.id, api_key: apiKey });
      },
    }),
  });

  resource(router, context, "/companies/:id/subs", {
    get: endpoint({
      allow: "all",
      query: pageQuery,
      handle: async (call) => {
        const { db, scope, query } = call;
        const { id } = await requested(call);
        const subscriptions = await listSubscriptions(db, scope, { companyId: id }, query);
        return ok(listing(subscriptions.map(subscriptionJson), query, await countSubscriptions(db, scope, id)));
      },
    }),
  });
}

const requested = ({ app, identity, params }: Call<unknown, unknown>): Promise<Company> =>
  companyFor(app, identity, pathUuid(params.id));
