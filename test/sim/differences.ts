/** Says in few words where two databases differ. */
import { canonical, type Step, type Told, type Trace } from "./operation.ts";
import type { Rows } from "./table-rows.ts";

/** What the answers of the real and of the simulated database do not have in common. */
export function differentAnswers(real: Told, simulated: Told): string | undefined {
  if (canonical(real) === canonical(simulated)) return undefined;
  const [here, there] = [real, simulated].map((told) => ("rows" in told ? told.rows : [JSON.stringify(told)]));
  if (here!.length !== there!.length) return sides(here!, there!);
  const i = here!.findIndex((row, n) => row !== there![n]);
  return sides([differentFields(here![i]!, there![i]!)], [differentFields(there![i]!, here![i]!)]);
}

/** Of a row those fields that another does not have so. */
function differentFields(row: string, other: string): string {
  if (!row.startsWith("{") || !other.startsWith("{")) return row;
  const [fields, others] = [row, other].map((text) => JSON.parse(text) as Record<string, unknown>);
  const differing = Object.entries(fields!).filter(([name, value]) => canonical(value) !== canonical(others![name]));
  return JSON.stringify(Object.fromEntries(differing));
}

/** The rows that only one of the two has. */
export function differentTables(real: Rows, simulated: Rows): string | undefined {
  for (const name of Object.keys(simulated) as (keyof Rows)[]) {
    const [here, there] = [real, simulated].map((rows) => rows[name].map(canonical).sort());
    if (here!.join() === there!.join()) continue;
    const only = (these: string[], those: string[]) => these.filter((row) => !those.includes(row));
    return `${name}: ${sides(only(here!, there!), only(there!, here!))}`;
  }
  return undefined;
}

const sides = (real: string[], simulated: string[]) =>
  `the real database has\n    ${real.join("\n    ") || "nothing"}\n  and the simulated one\n    ${simulated.join("\n    ") || "nothing"}`;

/** The steps that led there. */
export const history = ({ steps }: Trace, last: number): string =>
  steps
    .slice(Math.max(0, last - 25), last + 1)
    .map((step) => `    ${line(step)}`)
    .join("\n");

function line({ session, scope, operation, told, resumed }: Step): string {
  const text = "text" in operation ? operation.text.replace(/\s+/g, " ").slice(0, 150) : operation.kind;
  const values = "values" in operation ? JSON.stringify(operation.values).slice(0, 200) : "";
  const waits = told === undefined ? " … waits" : "";
  return `${session} as ${scope}: ${text} ${values}${waits}${resumed ? " … has waited" : ""}`;
}
