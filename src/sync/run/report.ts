/** How a run went. */

import type { Company } from "../../companies/company.ts";
import type { SandpiperError } from "../../errors.ts";
import type { SliceResult } from "../protocol/secondary-port.ts";
import type { Traffic } from "../transport/primary-client.ts";

/** How a run with one primary went. */
export interface PartnerReport {
  company: Pick<Company, "id" | "name">;
  runId: string;
  rehearsal: boolean;
  exitCode: number;
  /** What ended the run early, if anything did. */
  error?: SandpiperError;
  results: SliceResult[];
  /** What changed about subscriptions. */
  notices: string[];
  /** What an operator should know though the run succeeded. */
  warnings: string[];
  traffic: Traffic;
  durationMs: number;
}

/** Totals of a report, as they are stored and shown. */
export function summary(report: PartnerReport): Record<string, number> {
  const of = (...outcomes: SliceResult["outcome"][]) =>
    report.results.filter((result) => outcomes.includes(result.outcome)).length;
  const sum = (pick: (result: SliceResult) => number) =>
    report.results.reduce((total, result) => total + pick(result), 0);
  return {
    unchanged: of("unchanged"),
    updated: of("updated", "would-update"),
    deferred: of("deferred"),
    failed: of("failed", "denied"),
    grains_added: sum((result) => result.added),
    grains_removed: sum((result) => result.removed),
    bytes_received: report.traffic.in,
    bytes_sent: report.traffic.out,
    duration_ms: report.durationMs,
  };
}

/** How a run with all primaries that were due went. */
export interface SyncReport {
  partners: PartnerReport[];
  exitCode: number;
  durationMs: number;
}
