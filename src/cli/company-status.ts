/** `sandpiper company list --status`: how far everybody has got, those in trouble first. */

import {
  type PartnerStatus,
  type PrimaryStatus,
  partnersByTrouble,
  primariesByTrouble,
} from "../activity/rules/status.ts";
import { listPartnerFacts, listPrimaryFacts } from "../activity/status-store.ts";
import type { ServerRole } from "../companies/company.ts";
import type { Database } from "../database/database.ts";
import type { Cli } from "./command.ts";
import type { Column } from "./output.ts";

/** Lists the partners of a primary, or the primaries of a secondary. */
export async function listStatus(cli: Cli, db: Database, role: ServerRole): Promise<void> {
  await (role === "primary"
    ? show(cli, partnerColumns, partnersByTrouble(await listPartnerFacts(db)))
    : show(cli, primaryColumns, primariesByTrouble(await listPrimaryFacts(db))));
}

/** Ids are for programs: a line is long enough without. */
async function show<Row extends { id: string }>(
  cli: Cli,
  columns: readonly Column<Row>[],
  rows: readonly Row[],
): Promise<void> {
  const id: Column<Row> = { key: "id", value: (row) => row.id };
  await cli.output.list(cli.json ? [id, ...columns] : columns, rows);
}

const partnerColumns: readonly Column<PartnerStatus>[] = [
  { key: "name", value: (p) => p.name },
  { key: "state", value: (p) => p.state },
  { key: "current", value: (p) => p.current },
  { key: "slices", value: (p) => p.slices },
  { key: "since", value: (p) => p.since },
  { key: "last_contact", value: (p) => p.lastContact },
  { key: "last_success", value: (p) => p.lastSuccess },
  { key: "last_error_at", value: (p) => p.errorAt },
  { key: "last_error", value: (p) => p.error },
];

const primaryColumns: readonly Column<PrimaryStatus>[] = [
  { key: "name", value: (p) => p.name },
  { key: "state", value: (p) => p.state },
  { key: "last_run", value: (p) => p.lastRun },
  { key: "exit_code", value: (p) => p.exitCode },
  { key: "last_success", value: (p) => p.lastSuccess },
  { key: "last_error_at", value: (p) => p.errorAt },
  { key: "last_error", value: (p) => p.error },
];
