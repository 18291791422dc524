/**
 * `npm run bench`: what a sync costs, as ratios to a baseline that ran beside it.
 *
 *     npm run bench -- [--json] [--quick] [--only NAME]
 */
import t from "tap";
import { createTestDatabase } from "../harness/test-database.ts";
import { type Scenario, scenarios } from "./scenarios.ts";
import { endAll, startPostgres } from "./world.ts";

t.setTimeout(0);

const words = process.argv.slice(2);
const json = words.includes("--json");
const quick = words.includes("--quick");
const only = words.includes("--only") ? words[words.indexOf("--only") + 1] : undefined;
if (only !== undefined && !(only in scenarios)) {
  process.stderr.write(`There is no scenario ${only}; there are ${Object.keys(scenarios).join(", ")}.\n`);
  process.exit(2);
}

const stop = await startPostgres();
let failed = 0;
try {
  await createTestDatabase("warm"); // the template is made now, not in a measurement
  for (const [name, scenario] of Object.entries(scenarios) as [string, Scenario][]) {
    if (only !== undefined && name !== only) continue;
    for await (const row of scenario(quick)) {
      if (!row.pass) failed++;
      if (json) process.stdout.write(`${JSON.stringify({ scenario: name, ...row })}\n`);
      else
        process.stdout.write(
          `${row.pass ? "ok    " : "MISSED"} ${name}: ${Object.entries(row.figures)
            .map(([key, value]) => `${key} ${value}`)
            .join(", ")} (must: ${row.must})\n`,
        );
    }
    await endAll();
  }
} finally {
  await endAll();
  await stop();
}
process.exitCode = failed === 0 ? 0 : 1;
