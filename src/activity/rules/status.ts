/** How far a partner or a primary has got, in one word, and in what order they are listed: those in trouble first. Pure. */
import type { Company } from "../../companies/company.ts";

type Named = Pick<Company, "id" | "name" | "active">;

/** The newest failure that no success has followed. */
interface LastError {
  errorAt: Date | null;
  /** Outcome, slice and message of the activity. */
  error: string | null;
}

/** What a primary knows of a partner. */
export interface PartnerFacts extends Named, LastError {
  /** Active subscriptions, and those of whose slice the partner holds the present content. */
  slices: number;
  current: number;
  /** When the last of what it holds became current, and when the first of what it lacks became due. */
  currentSince: Date | null;
  behindSince: Date | null;
  /** Last login or report, rehearsals included. */
  lastContact: Date | null;
  /** Last report of a slice that was brought up to date. */
  lastSuccess: Date | null;
}

/** What a secondary knows of its syncs with a primary; rehearsals leave no run. */
export interface PrimaryFacts extends Named, LastError {
  lastRun: Date | null;
  /** When the last run ended, and how; null while it runs, and when it was killed. */
  finishedAt: Date | null;
  exitCode: number | null;
  lastSuccess: Date | null;
}

/** From trouble to what needs no attention. */
const partnerStates = ["never synced", "behind", "no subscriptions", "current", "inactive"] as const;
const primaryStates = ["failed", "never synced", "not finished", "ok", "inactive"] as const;

export interface PartnerStatus extends PartnerFacts {
  state: (typeof partnerStates)[number];
  /** Since when it is behind, or else current. */
  since: Date | null;
}

export interface PrimaryStatus extends PrimaryFacts {
  state: (typeof primaryStates)[number];
}

/** Partners with their state. First those whose last error still stands, then by state; within each as they were. */
export function partnersByTrouble(partners: readonly PartnerFacts[]): PartnerStatus[] {
  const rank = ({ active, error, state }: PartnerStatus) =>
    active && error !== null ? -1 : partnerStates.indexOf(state);
  return partners
    .map((partner) => ({
      ...partner,
      state: partnerState(partner),
      since: partner.behindSince ?? partner.currentSince,
    }))
    .sort((a, b) => rank(a) - rank(b));
}

function partnerState(partner: PartnerFacts): PartnerStatus["state"] {
  if (!partner.active) return "inactive";
  if (partner.slices === 0) return "no subscriptions";
  if (partner.current === partner.slices) return "current";
  return partner.lastSuccess === null ? "never synced" : "behind";
}

/** Primaries with their state and last error, by state; within each as they were. */
export function primariesByTrouble(primaries: readonly PrimaryFacts[]): PrimaryStatus[] {
  const rank = ({ state }: PrimaryStatus) => primaryStates.indexOf(state);
  return primaries
    .map((primary) => ({ ...primary, state: primaryState(primary), ...primaryError(primary) }))
    .sort((a, b) => rank(a) - rank(b));
}

function primaryState(primary: PrimaryFacts): PrimaryStatus["state"] {
  if (!primary.active) return "inactive";
  if (primary.lastRun === null) return "never synced";
  // What was killed looks like what still runs, until the next run.
  if (primary.finishedAt === null) return "not finished";
  return primary.exitCode === 0 ? "ok" : "failed";
}

/** A slice's failure says more than the run's exit code, unless the run failed before it came to slices. */
function primaryError({ errorAt, error, exitCode, lastRun, finishedAt }: PrimaryFacts): LastError {
  const failed = exitCode !== null && exitCode !== 0;
  if (errorAt !== null && (!failed || errorAt >= lastRun!)) return { errorAt, error };
  return failed ? { errorAt: finishedAt, error: `exit code ${exitCode}` } : { errorAt: null, error: null };
}
