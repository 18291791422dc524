/**
 * `npm run bench`: what a sync costs, as ratios to a baseline that ran beside it.
 *
 *     npm run bench -- [--quick] [--only NAME] [--json | --markdown]
 */
import { arch, cpus, totalmem, type } from "node:os";
import t from "tap";
import { createTestDatabase } from "../harness/test-database.ts";
import type { Row } from "./scenario.ts";
import { scenarios } from "./scenarios.ts";
import { endAll, startPostgres } from "./world.ts";

t.setTimeout(0);

const words = process.argv.slice(2);
const only = words.includes("--only") ? words[words.indexOf("--only") + 1] : undefined;
if (only !== undefined && !Object.hasOwn(scenarios, only)) {
  process.stderr.write(`There is no scenario ${only}; there are ${Object.keys(scenarios).join(", ")}.\n`);
  process.exit(2);
}

const figures = (row: Row, between: string) =>
  Object.entries(row.figures)
    .map(([name, value]) => `${name.replaceAll("_", " ")}: ${value.toLocaleString("en-US")}`)
    .join(between);

const forms = {
  text: (name: string, row: Row) =>
    `${row.pass ? "ok    " : "MISSED"} ${name}: ${figures(row, ", ")} (must: ${row.must})`,
  json: (name: string, row: Row) => JSON.stringify({ scenario: name, ...row }),
  markdown: (name: string, row: Row) =>
    `| ${name} | ${figures(row, "<br>")} | ${row.must} | ${row.pass ? "yes" : "**no**"} |`,
};
const form = words.includes("--json") ? "json" : words.includes("--markdown") ? "markdown" : "text";
const print = (line: string) => process.stdout.write(`${line}\n`);

if (form === "markdown") {
  const machine = `${cpus().length} x ${cpus()[0]?.model}, ${Math.round(totalmem() / 2 ** 30)} GB, ${type()} ${arch()}`;
  print(`Measured on ${new Date().toISOString().slice(0, 10)} on ${machine}, Node ${process.versions.node}.\n`);
  print("| scenario | measured | must | met |\n|---|---|---|---|");
}
const stop = await startPostgres();
let missed = 0;
try {
  await createTestDatabase("warm"); // the template is made now, not in a measurement
  for (const [name, scenario] of Object.entries(scenarios)) {
    if (only !== undefined && name !== only) continue;
    if (only === undefined && name === "huge" && words.includes("--quick")) continue;
    const row = await scenario(words.includes("--quick"));
    if (!row.pass) missed++;
    print(forms[form](name, row));
  }
} finally {
  await endAll();
  await stop();
}
process.exitCode = missed === 0 ? 0 : 1;
