/** `POST /sync/{primary}` on a secondary: the same run as `sandpiper sync`, ordered over REST, and asked after by its id. */
import { randomUUID } from "node:crypto";
import type { Router } from "express";
import * as z from "zod";
import { aborted } from "../../aborted.ts";
import { announceRun, findRun } from "../../activity/run-store.ts";
import type { App } from "../../app.ts";
import type { Company } from "../../companies/company.ts";
import { findCompany, findCompanyByAddress } from "../../companies/company-store.ts";
import { missing, SandpiperError } from "../../errors.ts";
import { type CompanyId, isUuid } from "../../ids.ts";
import { plainRun } from "../../sync/protocol/run-options.ts";
import { type PartnerReport, summary } from "../../sync/run/report.ts";
import { runPartner } from "../../sync/run/run-partner.ts";
import type { ServerContext } from "../context.ts";
import { endpoint, ok, resource } from "./endpoint.ts";
import { pathUuid } from "./path-id.ts";

const flag = z.enum(["yes", "no"]).optional();

/** Runs that were ordered over REST, and their routes: a service of the daemon. */
export class OrderedRuns {
  readonly #running = new Map<CompanyId, Promise<unknown>>();
  readonly #abort = new AbortController();

  readonly routes = (router: Router, context: ServerContext): void => syncRunRoutes(router, context, this);

  /** Begins a run. @throws `busy` when one with that primary is under way in this process. */
  begin(app: App, company: Company, runId: string, rehearsal: boolean): Promise<PartnerReport> {
    if (this.#running.has(company.id)) {
      throw new SandpiperError("busy", "a sync with that primary is running", {
        hint: "Ask how it is doing, or wait until it has ended.",
      });
    }
    const run = (async () => {
      if (!rehearsal) await announceRun(app.db, runId, company.id);
      // Whoever orders a run may order another: it waits for nothing.
      return runPartner(app, company, {
        runId,
        options: { ...plainRun, rehearsal },
        signal: this.#abort.signal,
      });
    })().finally(() => this.#running.delete(company.id));
    this.#running.set(company.id, run);
    return run;
  }

  /** Lets runs end by themselves until `over` is aborted, then aborts them: they roll back, and say so in their record. */
  async stop(over: AbortSignal): Promise<void> {
    void aborted(over).then(() => this.#abort.abort(new SandpiperError("terminated", "the server was stopped")));
    await Promise.allSettled(this.#running.values());
  }
}

function syncRunRoutes(router: Router, context: ServerContext, runs: OrderedRuns): void {
  resource(router, context, "/sync/:primary", {
    post: endpoint({
      allow: "admin",
      on: "secondary",
      query: z.strictObject({ wait: flag, noupdate: flag }),
      handle: async ({ params, query }) => {
        const company = await requirePrimary(context, params.primary!);
        const runId = randomUUID();
        const rehearsal = query.noupdate === "yes";
        const finished = runs.begin(context.app, company, runId, rehearsal);
        // A rehearsal leaves no record to ask after: it is always waited for.
        if (query.wait !== "yes" && !rehearsal) {
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
