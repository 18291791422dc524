/** `sandpiper activity`: what was synced, when, by whom, how it ended. */
import type { Command } from "commander";
import { type Activity, listActivity } from "../activity/activity-store.ts";
import { requireCompany } from "../companies/company-store.ts";
import { everything } from "../database/scope.ts";
import { action, addCommand, type Context } from "./command.ts";
import { wholeNumber } from "./whole-number.ts";

export function registerActivity(program: Command, context: Context): void {
  addCommand(program, "activity", {
    summary: "what was synced, when, by whom, and how it ended; newest first",
    examples: ["sandpiper activity", "sandpiper activity --company Epicor --limit 20", "sandpiper activity --json"],
  })
    .option("--company <company>", "name or id of one company")
    .option("--limit <number>", "how many to list at most", wholeNumber(1, 100_000), 100)
    .action(
      action<{ company?: string; limit: number }>(context, (cli, options) =>
        cli.withApp(async ({ db }) => {
          const company = options.company === undefined ? undefined : await requireCompany(db, options.company);
          const rows = await listActivity(db, everything, company === undefined ? {} : { companyId: company.id }, {
            limit: options.limit,
            offset: 0,
          });
          await cli.output.list<Activity>(
            [
              { key: "date", value: (a) => a.createdAt },
              { key: "company", value: (a) => a.companyName },
              { key: "slice", value: (a) => a.sliceName },
              { key: "outcome", value: (a) => a.outcome },
              { key: "test", value: (a) => a.rehearsal },
              { key: "added", value: (a) => a.grainsAdded },
              { key: "removed", value: (a) => a.grainsRemoved },
              { key: "bytes", value: (a) => a.bytes },
              { key: "ms", value: (a) => a.durationMs },
              { key: "message", value: (a) => a.message },
            ],
            rows,
          );
        }),
      ),
    );
}
