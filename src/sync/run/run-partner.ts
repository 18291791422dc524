/** One run with one primary: its lock, the run itself, its report. */

import { finishRun } from "../../activity/run-store.ts";
import type { App } from "../../app.ts";
import type { Company } from "../../companies/company.ts";
import { asSandpiperError, worstExit } from "../../errors.ts";
import type { Traffic } from "../transport/primary-client.ts";
import { Internet, type Outside } from "./outside.ts";
import { withPairLock } from "./pair-lock.ts";
import { abortReason, type PartnerOptions, PartnerRun } from "./partner-run.ts";
import { type PartnerReport, summary } from "./report.ts";

/** Runs a sync with one primary. Never throws for what happens in it: the report says how it went. */
export async function runPartner(
  app: App,
  company: Company,
  options: PartnerOptions,
  outsideOf: (traffic: Traffic) => Outside = (traffic) => new Internet(app, company, traffic, options.signal),
): Promise<PartnerReport> {
  const report: PartnerReport = {
    company: { id: company.id, name: company.name },
    runId: options.runId,
    test: options.test,
    exitCode: 0,
    results: [],
    notices: [],
    warnings: [],
    traffic: { in: 0, out: 0 },
    durationMs: 0,
  };
  const outside = outsideOf(report.traffic);
  const startedMs = outside.nowMs();
  try {
    await app.db.session((session) =>
      withPairLock(session, company, options.waitSeconds, outside, () =>
        new PartnerRun(app, company, options, report, session, outside, startedMs).go(),
      ),
    );
  } catch (thrown) {
    report.error = options.signal?.aborted ? abortReason(options.signal) : asSandpiperError(thrown);
  }
  report.durationMs = Math.round(outside.nowMs() - startedMs);
  report.exitCode = exitCode(report);
  if (!options.test) {
    await finishRun(app.db, options.runId, report.exitCode, summary(report)).catch((error) => {
      report.warnings.push(`the run could not be recorded: ${asSandpiperError(error).message}`);
    });
  }
  return report;
}

function exitCode(report: PartnerReport): number {
  const exits = report.results.flatMap((result) => (result.error === undefined ? [] : [result.error.exitCode]));
  if (report.error !== undefined) exits.push(report.error.exitCode);
  return worstExit(exits);
}
