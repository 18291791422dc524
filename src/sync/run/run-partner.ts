/** One run with one primary: its lock, the run itself, its report. */

import { finishRun } from "../../activity/run-store.ts";
import type { App } from "../../app.ts";
import type { Company } from "../../companies/company.ts";
import { asSandpiperError, worstExit } from "../../errors.ts";
import type { Traffic } from "../transport/primary-client.ts";
import { Internet, type Outside } from "./outside.ts";
import { withPairLock } from "./pair-lock.ts";
import { abortReason, type PartnerOrder } from "./partner-context.ts";
import { PartnerRun } from "./partner-run.ts";
import { type PartnerReport, summary } from "./report.ts";
import type { PartnerEvent } from "./sync-event.ts";

/** Runs a sync with one primary. Never throws for what happens in it: the report says how it went. */
export async function runPartner(
  app: App,
  company: Company,
  order: PartnerOrder,
  outsideOf: (traffic: Traffic) => Outside = (traffic) => new Internet(app, company, traffic, order.signal),
): Promise<PartnerReport> {
  const { runId, options, signal } = order;
  const report: PartnerReport = {
    company: { id: company.id, name: company.name },
    runId,
    rehearsal: options.rehearsal,
    exitCode: 0,
    results: [],
    notices: [],
    warnings: [],
    traffic: { in: 0, out: 0 },
    durationMs: 0,
  };
  const outside = outsideOf(report.traffic);
  const startedMs = outside.nowMs();
  const emit = (event: PartnerEvent) => order.emit?.({ company: report.company, ...event });
  try {
    await app.db.session((session) =>
      withPairLock(session, company, options.waitSeconds, outside, () =>
        new PartnerRun({ app, company, order, outside, session, report, startedMs, emit }).go(),
      ),
    );
  } catch (thrown) {
    report.error = signal?.aborted ? abortReason(signal) : asSandpiperError(thrown);
  }
  report.durationMs = Math.round(outside.nowMs() - startedMs);
  report.exitCode = exitCode(report);
  if (!options.rehearsal) {
    await finishRun(app.db, runId, report.exitCode, summary(report)).catch((error) => {
      report.warnings.push(`the run could not be recorded: ${asSandpiperError(error).message}`);
    });
  }
  emit({ type: "partner", report });
  return report;
}

function exitCode(report: PartnerReport): number {
  const exits = report.results.flatMap((result) => (result.error === undefined ? [] : [result.error.exitCode]));
  if (report.error !== undefined) exits.push(report.error.exitCode);
  return worstExit(exits);
}
