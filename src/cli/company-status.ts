/** `sandpiper company list --status`: how far everybody has got, those in trouble first. */

import { listPartnerFacts, listPrimaryFacts, type PartnerFacts, type PrimaryFacts } from "../activity/status-store.ts";
import type { ServerRole } from "../companies/company.ts";
import type { Database } from "../database/database.ts";
import type { Run } from "./command.ts";
import type { Column } from "./output.ts";

/** Lists the partners of a primary, or the primaries of a secondary. */
export async function listStatus(run: Run, db: Database, role: ServerRole): Promise<void> {
  await (role === "primary"
    ? show(run, partnerColumns, await listPartnerFacts(db), partnerTrouble)
    : show(run, primaryColumns, await listPrimaryFacts(db), primaryTrouble));
}

/** Ids are for programs: a line is long enough without. */
async function show<Row extends { id: string }>(
  run: Run,
  columns: readonly Column<Row>[],
  rows: Row[],
  trouble: (row: Row) => number,
): Promise<void> {
  const id: Column<Row> = { key: "id", value: (row) => row.id };
  // The sort is stable: within one kind of trouble they stay in order of name.
  rows.sort((a, b) => trouble(a) - trouble(b));
  await run.output.list(run.json ? [id, ...columns] : columns, rows);
}

const partnerColumns: readonly Column<PartnerFacts>[] = [
  { key: "name", value: (p) => p.name },
  { key: "state", value: partnerState },
  { key: "current", value: (p) => p.current },
  { key: "slices", value: (p) => p.slices },
  { key: "since", value: (p) => p.behindSince ?? p.currentSince },
  { key: "last_contact", value: (p) => p.lastContact },
  { key: "last_success", value: (p) => p.lastSuccess },
  { key: "last_error_at", value: (p) => p.errorAt },
  { key: "last_error", value: (p) => p.error },
];

function partnerState(partner: PartnerFacts): string {
  if (!partner.active) return "inactive";
  if (partner.slices === 0) return "no subscriptions";
  if (partner.current === partner.slices) return "current";
  return partner.lastSuccess === null ? "never synced" : "behind";
}

const partnerTroubles = ["never synced", "behind", "no subscriptions", "current", "inactive"];

const partnerTrouble = (partner: PartnerFacts) =>
  partner.active && partner.error !== null ? -1 : partnerTroubles.indexOf(partnerState(partner));

const primaryColumns: readonly Column<PrimaryFacts>[] = [
  { key: "name", value: (p) => p.name },
  { key: "state", value: primaryState },
  { key: "last_run", value: (p) => p.lastRun },
  { key: "exit_code", value: (p) => p.exitCode },
  { key: "last_success", value: (p) => p.lastSuccess },
  { key: "last_error_at", value: (p) => (ownError(p) ? p.errorAt : failed(p) ? p.finishedAt : null) },
  { key: "last_error", value: (p) => (ownError(p) ? p.error : failed(p) ? `exit code ${p.exitCode}` : null) },
];

function primaryState(primary: PrimaryFacts): string {
  if (!primary.active) return "inactive";
  if (primary.lastRun === null) return "never synced";
  // What was killed looks like what still runs, until the next run.
  if (primary.finishedAt === null) return "not finished";
  return primary.exitCode === 0 ? "ok" : "failed";
}

const primaryTroubles = ["failed", "never synced", "not finished", "ok", "inactive"];

const primaryTrouble = (primary: PrimaryFacts) => primaryTroubles.indexOf(primaryState(primary));

const failed = ({ exitCode }: PrimaryFacts) => exitCode !== null && exitCode !== 0;

/** A slice's failure says more than the run's exit code, unless the run failed before it came to slices. */
const ownError = (primary: PrimaryFacts) =>
  primary.errorAt !== null && (!failed(primary) || primary.errorAt >= primary.lastRun!);
