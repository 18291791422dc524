/**
 * `npm run sim:mutants`: plants each fault of mutants.ts, alone and with the guards beside it switched off, and lets the simulation look for it.
 * It is caught when a schedule goes wrong, or when something that must happen never does. `-- --only TEXT` takes some of them.
 */
import { parseArgs } from "node:util";
import { look, together } from "./look.ts";
import { type Guard, guards, mutants } from "./mutants.ts";
import type { Edits } from "./small-limits.ts";

const changesOf = (guard: Guard): Edits => guards[guard] as unknown as Edits;

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { only: { type: "string" } } });
  const chosen = mutants.filter(({ name }) => name.includes(values.only ?? ""));
  /** What is missing already when only the guard is off: it must not do harm alone, or nothing could be told apart. */
  const without = new Map<Guard, Set<string>>();
  let caught = 0;
  let tried = 0;
  for (const { name, edits, neighbours } of chosen) {
    for (const guard of [undefined, neighbours]) {
      if (guard !== undefined && !without.has(guard)) {
        const { found, kept } = await look(changesOf(guard), () => false);
        if (found.failed.length + kept > 0) throw new Error(`${guard}: without it alone something is wrong already`);
        without.set(guard, new Set(found.missing));
      }
      const usual = guard === undefined ? new Set<string>() : without.get(guard)!;
      const changes = guard === undefined ? edits : together(changesOf(guard), edits);
      const { found, kept, schedules } = await look(changes, ({ failed }) => failed.length > 0);
      const missing = found.missing.filter((event) => !usual.has(event));
      const how =
        found.failed[0]?.violations[0] ?? (kept > 0 ? "by a plan that was kept" : missing[0] && `never: ${missing[0]}`);
      tried++;
      if (how !== undefined) caught++;
      const beside = guard === undefined ? "" : `, without ${guard}`;
      process.stdout.write(
        `${how === undefined ? "MISSED" : "caught"}  ${name}${beside} (${schedules} schedules): ${how?.slice(0, 140) ?? ""}\n`,
      );
    }
  }
  process.stdout.write(`sim:mutants: ${chosen.length} mutants, ${tried} ways, ${tried - caught} not caught\n`);
  process.exitCode = tried === caught && chosen.length > 0 ? 0 : 1;
}

await main();
