/** /companies: trading partners, and ourselves. */
import type { Router } from "express";
import { z } from "zod";
import { SandpiperError } from "../errors.ts";
import type { Company } from "../subscriptions/company.ts";
import {
  addCompany,
  countCompanies,
  findCompany,
  issueApiKey,
  listCompanies,
  setCompanyActive,
} from "../subscriptions/company-store.ts";
import { countSubscriptions, listSubscriptions } from "../subscriptions/subscription-store.ts";
import { type Call, created, endpoint, ok, resource } from "./endpoint.ts";
import { listing, pageQuery } from "./paging.ts";
import { pathUuid } from "./path-id.ts";
import { missing } from "./problem.ts";
import type { ServerContext } from "./server-context.ts";
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
  const { server } = context.app;

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
      body: z.strictObject({ id: z.guid().toLowerCase().optional(), name: z.string() }),
      handle: async ({ db, body }) => {
        const company = await addCompany(db, body);
        if (server.role !== "primary") return created(companyJson(company));
        return created({ ...companyJson(company), api_key: await issueApiKey(db, company.id, context.apiKeyHmac) });
      },
    }),
  });

  resource(router, context, "/companies/:id", {
    get: endpoint({ allow: "all", handle: async (call) => ok(companyJson(await requested(call))) }),
    patch: endpoint({
      allow: "admin",
      body: z.strictObject({ active: z.boolean() }),
      handle: async (call) => {
        const company = await requested(call);
        if (company.id === server.serverId) throw ourselves("be switched off, for nobody could log in any more");
        await setCompanyActive(call.db, company.id, call.body.active);
        return ok(companyJson(await requested(call)));
      },
    }),
  });

  resource(router, context, "/companies/:id/rekey", {
    post: endpoint({
      allow: "admin",
      on: "primary",
      handle: async (call) => {
        const company = await requested(call);
        if (company.id === server.serverId) throw ourselves("have an API key, which is for partners");
        return ok({ id: company.id, api_key: await issueApiKey(call.db, company.id, context.apiKeyHmac) });
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

async function requested({ db, scope, params }: Call<unknown, unknown>): Promise<Company> {
  const company = await findCompany(db, pathUuid(params.id), scope);
  if (company === undefined) throw missing("company");
  return company;
}

const ourselves = (what: string) => new SandpiperError("usage", `this server's own company cannot ${what}`);
