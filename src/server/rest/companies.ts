/** /companies: trading partners, and ourselves. */
import type { Router } from "express";
import { z } from "zod";
import type { Company } from "../../companies/company.ts";
import {
  addCompany,
  countCompanies,
  findCompany,
  issueApiKey,
  listCompanies,
  moveCompany,
  setCompanyActive,
} from "../../companies/company-store.ts";
import { checkSyncAddress, type SyncTarget } from "../../companies/sync-address.ts";
import { SandpiperError } from "../../errors.ts";
import { countSubscriptions, listSubscriptions } from "../../subscriptions/subscription-store.ts";
import type { ServerContext } from "../context.ts";
import { missing } from "../http/problem.ts";
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
  const { server, config } = context.app;

  /** An address that came over REST. @throws `usage` unless it may be here. */
  const target = (address: string): SyncTarget => {
    if (server.role !== "secondary")
      throw new SandpiperError("usage", "a primary calls nobody: its partners have no sync address");
    const mayBePrivate = config.server.allow_private_addresses;
    return { url: checkSyncAddress(address, mayBePrivate), mayBePrivate };
  };

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
      handle: async ({ db, body: { sync_addr: address, ...body } }) => {
        const company = await addCompany(db, {
          ...body,
          ...(address === undefined ? {} : { target: target(address) }),
        });
        if (server.role !== "primary") return created(companyJson(company));
        return created({ ...companyJson(company), api_key: await issueApiKey(db, company.id, context.apiKeyHmac) });
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
      handle: async (call) => {
        const company = await requested(call);
        const { active, sync_addr: address } = call.body;
        if (company.id === server.serverId)
          throw ourselves("be switched off, for nobody could log in any more, nor have an address");
        const moved = address === undefined ? undefined : target(address);
        await call.db.transaction(async (tx) => {
          if (moved !== undefined && moved.url !== company.syncAddr) await moveCompany(tx, company.id, moved);
          if (active !== undefined) await setCompanyActive(tx, company.id, active);
        });
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
