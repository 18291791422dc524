/** A run over all primaries that are due, several at once. One that fails never stops the others. */
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { App } from "../../app.ts";
import type { Company } from "../../companies/company.ts";
import { findCompany, listCompanies } from "../../companies/company-store.ts";
import { SandpiperError, worstExit } from "../../errors.ts";
import { isUuid } from "../../ids.ts";
import { findSubscription } from "../../subscriptions/subscription-store.ts";
import type { RunOptions } from "../protocol/run-options.ts";
import type { PartnerReport, SyncReport } from "./report.ts";
import { runPartner } from "./run-partner.ts";
import type { SyncSink } from "./sync-event.ts";

/** A sync that somebody has ordered. */
export interface SyncOrder {
  /** The name or id of a subscription, or the id of a company; all primaries when absent. */
  sub?: string | undefined;
  /** Primaries at once. */
  jobs: number;
  /** Begin after a random part of this time, so that not every partner comes at the full hour. */
  splaySeconds: number;
  options: RunOptions;
  signal?: AbortSignal | undefined;
  emit?: SyncSink | undefined;
}

/** Which primaries a run is about. @throws `not_found`, or `usage` for what is switched off here. */
async function choosePartners(
  app: App,
  sub: string | undefined,
): Promise<{ companies: Company[]; onlySubscription?: string }> {
  if (sub === undefined) {
    const companies = (await listCompanies(app.db)).filter(
      (company) => company.id !== app.server.serverId && company.active,
    );
    if (companies.length === 0) {
      throw new SandpiperError("usage", "there is no active primary to sync with", {
        hint: "Register one with `sandpiper company add NAME --sync-addr URL --api-key-file FILE`.",
      });
    }
    return { companies };
  }
  const company = isUuid(sub) ? await findCompany(app.db, sub) : undefined;
  if (company !== undefined && company.id !== app.server.serverId) return { companies: [requireActive(company)] };
  const subscription = await findSubscription(app.db, sub);
  if (subscription === undefined) {
    throw new SandpiperError("not_found", `there is no subscription ${JSON.stringify(sub)}`, {
      hint: "`sandpiper subscription list` shows those that are known here; a run without --sub adds the new ones of a primary.",
    });
  }
  if (!subscription.active) {
    throw new SandpiperError("usage", `subscription ${JSON.stringify(subscription.name)} is switched off here`, {
      hint: `Switch it on with \`sandpiper subscription activate ${JSON.stringify(subscription.name)}\`.`,
    });
  }
  return {
    companies: [requireActive((await findCompany(app.db, subscription.companyId))!)],
    onlySubscription: subscription.id,
  };
}

function requireActive(company: Company): Company {
  if (company.active) return company;
  throw new SandpiperError("usage", `company ${JSON.stringify(company.name)} is switched off here`, {
    hint: `Switch it on with \`sandpiper company activate ${JSON.stringify(company.name)}\`.`,
  });
}

/** Runs a sync. @throws only for what keeps it from beginning; how each primary fared is in the report. */
export async function runSync(app: App, order: SyncOrder): Promise<SyncReport> {
  const { options, signal, emit, jobs, splaySeconds } = order;
  const { companies, onlySubscription } = await choosePartners(app, order.sub);
  if (splaySeconds > 0) await sleep(Math.random() * splaySeconds * 1000, undefined, { signal });
  const startedMs = performance.now();
  const partners: PartnerReport[] = [];
  const queue = [...companies];
  const places = new Places(jobs);
  const idle = async (wait: () => Promise<void>) => {
    places.leave();
    await wait().finally(() => places.take());
  };
  const worker = async () => {
    for (let company = queue.shift(); company !== undefined; company = queue.shift()) {
      await places.take();
      const run = { runId: randomUUID(), options, onlySubscription, signal, emit, idle };
      partners.push(await runPartner(app, company, run));
      places.leave();
    }
  };
  // A primary that is waited for holds a connection to the database, but no place: it keeps none of the others waiting.
  const most = Math.max(jobs, app.config.database.pool_size - jobs - 1);
  await Promise.all(Array.from({ length: Math.min(most, companies.length) }, worker));
  return {
    partners,
    exitCode: worstExit(partners.map((report) => report.exitCode)),
    durationMs: Math.round(performance.now() - startedMs),
  };
}

/** So many at once; the others wait for their turn. */
class Places {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(places: number) {
    this.#free = places;
  }

  async take(): Promise<void> {
    if (this.#free > 0) this.#free--;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  leave(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#free++;
    else next(); // the place passes on
  }
}
