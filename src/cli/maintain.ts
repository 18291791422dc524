/** `sandpiper maintain`: cleans up in the database, now. */
import type { Command } from "commander";
import type { Tidied } from "../database/tidy.ts";
import { action, addCommand, type Context } from "./command.ts";
import { type Column, record } from "./output.ts";

const columns: readonly Column<Tidied>[] = [
  { key: "table", value: (t) => t.table },
  { key: "bytes_before", value: (t) => t.bytesBefore },
  { key: "bytes_after", value: (t) => t.bytesAfter },
  { key: "ms", value: (t) => t.ms },
];

export function registerMaintain(program: Command, context: Context): void {
  addCommand(program, "maintain", {
    summary: "clean up in the database: old log entries, dead rows, statistics",
    details:
      "Deletes log entries older than retention.days, then vacuums and analyzes every table: the space of deleted rows is used again, and space " +
      "that is free at the end of a file goes back to the disk. You seldom need it: the last command to leave the embedded database cleans up, `serve` " +
      "does so once a day, and a database of your own has its autovacuum. --full rewrites every table, and gives all free space back to the disk. " +
      "It needs room for a second copy of the largest table, and keeps everybody else out while it runs: stop `serve` first.",
    examples: ["sandpiper maintain", "sandpiper maintain --full", "sandpiper maintain --json"],
  })
    .option("--full", "rewrite every table, leaving no free space in it")
    .action(
      action<{ full?: boolean }>(context, (cli, { full = false }) =>
        cli.withApp(async (app) => {
          const { maintain } = await import("../operations/maintain.ts");
          const { forgotten, tidied, left } = await maintain(app, { full, signal: cli.signal });
          if (cli.json) {
            const tables = tidied.map((table) => record(columns, table));
            await cli.output.json({ forgotten, tables, not_allowed: left });
            return;
          }
          await cli.output.rows(columns, tidied);
          const { activity, runs, confirmations } = forgotten;
          cli.output.note(
            `Deleted, being older than ${app.config.retention.days} days: ${activity} activities, ${runs} runs, ${confirmations} confirmations.`,
          );
          if (left.length === 0) return;
          cli.output.note(
            `This login may not vacuum ${left.join(", ")}: that is left to the database's own autovacuum.\nThe owner's login may. From PostgreSQL 17 on, this one may too, after: GRANT MAINTAIN ON ALL TABLES IN SCHEMA public TO sandpiper_app;`,
          );
        }),
      ),
    );
}
