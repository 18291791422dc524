/** What a run with one primary is asked to do, and what its parts work with. */
import type { App } from "../../app.ts";
import type { Company } from "../../companies/company.ts";
import type { Session } from "../../database/database.ts";
import { SandpiperError } from "../../errors.ts";
import type { RunOptions } from "../protocol/run-options.ts";
import type { Outside } from "./outside.ts";
import type { PartnerReport } from "./report.ts";
import type { PartnerEvent, SyncSink } from "./sync-event.ts";

/** A run with one primary that somebody has ordered. */
export interface PartnerOrder {
  runId: string;
  options: RunOptions;
  /** Only the slice of this subscription, by its id. */
  onlySubscription?: string | undefined;
  signal?: AbortSignal | undefined;
  emit?: SyncSink | undefined;
  /** Called around each wait for the next try: whoever limits the runs that go on at once gives this one's place to another. */
  idle?: ((wait: () => Promise<void>) => Promise<void>) | undefined;
}

export interface PartnerContext {
  readonly app: App;
  readonly company: Company;
  readonly order: PartnerOrder;
  readonly outside: Outside;
  /** The session of the database that holds the pair's lock, and makes every change. */
  readonly session: Session;
  /** What has come of the run so far. */
  readonly report: PartnerReport;
  /** When the run began, by the clock of `outside`. */
  readonly startedMs: number;
  readonly emit: (event: PartnerEvent) => void;
}

/** Why a run was interrupted. */
export const abortReason = (signal: AbortSignal): SandpiperError =>
  signal.reason instanceof SandpiperError ? signal.reason : new SandpiperError("interrupted", "interrupted");
