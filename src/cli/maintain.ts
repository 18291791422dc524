/** `sandpiper maintain`: cleans up in the database, now. */
import type { Command } from "commander";
import { openDatabase } from "../database.ts";
import { SandpiperError } from "../errors.ts";
import { forgetOld } from "../maintenance/retention-store.ts";
import { type Tidied, tidyTable } from "../maintenance/tidy.ts";
import { listTables } from "../maintenance/vacuum-store.ts";
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
      "Forgets what retention.days says, then vacuums and analyzes every table: space of deleted rows is used again, and what is free at the end " +
      "of a file goes back to the disk. The embedded database is cleaned up by itself, by the last command that leaves it and once a day by `serve`; " +
      "one of your own by its autovacuum. --full writes every table anew and gives all that is free back to the disk. " +
      "It needs as much room again as the largest table, and nobody else can use a table meanwhile: stop `serve` first.",
    examples: ["sandpiper maintain", "sandpiper maintain --full", "sandpiper maintain --json"],
  })
    .option("--full", "write every table anew, without a gap")
    .action(
      action<{ full?: boolean }>(context, (run, { full = false }) =>
        run.withApp(async ({ db, config }) => {
          const forgotten = await forgetOld(db, config.retention.days, {
            limitMs: Number.POSITIVE_INFINITY,
            signal: run.signal,
          });
          run.signal.throwIfAborted();
          const owner = await openDatabase(config, { as: "owner", name: "sandpiper maintain" });
          try {
            const tables = (await listTables(owner)).filter((table) => table.ours || table.due);
            const mayNot = tables.filter((table) => table.ours && !table.may).map((table) => table.name);
            if (full && mayNot.length > 0) throw notAllowed(mayNot[0]!);
            const tidied: Tidied[] = [];
            for (const table of tables.filter((table) => table.may)) {
              tidied.push(await tidyTable(owner, table, { full: full && table.ours, limitMs: 0, signal: run.signal }));
              run.signal.throwIfAborted();
            }
            const entries = {
              activity: forgotten.activity,
              sync_runs: forgotten.runs,
              confirmations: forgotten.confirmations,
            };
            if (run.json) {
              const document = {
                forgotten: entries,
                tables: tidied.map((one) => record(columns, one)),
                not_allowed: mayNot,
              };
              await run.output.json(document);
              return;
            }
            await run.output.rows(columns, tidied);
            const days = config.retention.days;
            run.output.note(
              `Older than ${days} days, and forgotten: ${entries.activity} activities, ${entries.sync_runs} runs, ${entries.confirmations} confirmations.`,
            );
            if (mayNot.length > 0) {
              run.output.note(
                `Left to the database's own autovacuum, since this login may not vacuum them: ${mayNot.join(", ")}.\nUse the owner's login, or (from PostgreSQL 17) GRANT MAINTAIN ON ALL TABLES IN SCHEMA public TO sandpiper_app.`,
              );
            }
          } finally {
            await owner.close();
          }
        }),
      ),
    );
}

const notAllowed = (table: string) =>
  new SandpiperError("config", `this login of the database may not vacuum ${table}`, {
    hint: "Run it with the owner's login in SANDPIPER_DATABASE_URL.",
  });
