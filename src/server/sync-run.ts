/** `POST /sync/{primary}` on a secondary: the same run as `sandpiper sync`, ordered over REST, and asked after by its id. */
import { randomUUID } from "node:crypto";
import type { Router } from "express";
import { z } from "zod";
import { SandpiperError } from "../errors.ts";
import { isUuid } from "../slices/slice.ts";
import type { Company } from "../subscriptions/company.ts";
import { findCompany, findCompanyByAddress } from "../subscriptions/company-store.ts";
import { findRun, startRun } from "../sync/outbox-store.ts";
import { summary } from "../sync/report.ts";
import { runPartner } from "../sync/run-partner.ts";
import { endpoint, ok, resource } from "./endpoint.ts";
import { pathUuid } from "./path-id.ts";
import { missing } from "./problem.ts";
import type { ServerContext } from "./server-context.ts";

const flag = z.enum(["yes", "no"]).optional();

export function syncRunRoutes(router: Router, context: ServerContext): void {
  const running = new Set<string>();

  resource(router, context, "/sync/:primary", {
    post: endpoint({
      allow: "admin",
      on: "secondary",
      query: z.strictObject({ wait: flag, noupdate: flag }),
      handle: async ({ db, params, query }) => {
        const company = await requirePrimary(context, params.primary!);
        if (running.has(company.id))
          throw new SandpiperError("busy", "a sync with that primary is running", {
            hint: "Ask after it, or wait until it has ended.",
          });
        running.add(company.id);
        const runId = randomUUID();
        const test = query.noupdate === "yes";
        const finished = (async () => {
          try {
            if (!test) await startRun(db, runId, company.id);
            return await runPartner(context.app, company, {
              runId,
              test,
              allowDrops: false,
              waitSeconds: 0,
              signal: context.stopping,
            });
          } finally {
            running.delete(company.id);
          }
        })();
        if (query.wait !== "yes") {
          finished.catch((error) => context.app.log.error({ event: "sync.run_failed", run_id: runId, err: error }));
          return { status: 202, json: { run_id: runId, company_id: company.id } };
        }
        const report = await finished;
        return ok({
          run_id: runId,
          company_id: company.id,
          exit_code: report.exitCode,
          ...summary(report),
          ...(report.error === undefined ? {} : { error: { code: report.error.code } }),
        });
      },
    }),
  });

  resource(router, context, "/sync/runs/:run", {
    get: endpoint({
      allow: "admin",
      on: "secondary",
      handle: async ({ db, params }) => {
        const run = await findRun(db, pathUuid(params.run));
        if (run === undefined) throw missing("run");
        return ok({
          run_id: run.id,
          company_id: run.companyId,
          started_at: run.startedAt,
          finished_at: run.finishedAt,
          exit_code: run.exitCode,
          summary: run.summary,
        });
      },
    }),
  });
}

/** The primary with this id, or with exactly this address on file. What the request names is looked up, never dialled. */
async function requirePrimary({ app }: ServerContext, named: string): Promise<Company> {
  const company = isUuid(named) ? await findCompany(app.db, named) : await findCompanyByAddress(app.db, named);
  if (company === undefined || company.syncAddr === null) throw missing("primary");
  if (!company.active)
    throw new SandpiperError("conflict", "that primary is switched off here", { hint: "Activate the company first." });
  return company;
}
