/**
 * `npm run sim:mutants`: plants each fault of mutants.ts, alone and with the guards beside it switched off, and lets the simulation look for it.
 * It is caught when a schedule goes wrong, or when something that must happen never does. `-- --only TEXT` takes some of them.
 */
import { parseArgs } from "node:util";
import { keptPlans } from "./kept.ts";
import { look, together } from "./look.ts";
import { type Guard, guards, mutants } from "./mutants.ts";
import { rareEvents } from "./rare.ts";
import type { Edits } from "./small-limits.ts";

/** How often that is, in as many schedules. */
const enough = 5;

const changesOf = (guard: Guard): Edits => guards[guard];

/** A plan that was kept since it found this very fault has to find it again. */
const decayed = (name: string, kept: readonly string[]): boolean =>
  keptPlans.some(({ found }) => found === name) && !kept.includes(name);

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { only: { type: "string" } } });
  const chosen = mutants.filter(({ name }) => name.includes(values.only ?? ""));
  /** What happens often while nothing is planted, with all guards or without one: that it never happens any more says something. */
  const often = new Map<Guard | undefined, readonly string[]>();
  let caught = 0;
  let tried = 0;
  for (const { name, edits, neighbours } of chosen) {
    for (const guard of [undefined, neighbours]) {
      if (!often.has(guard)) {
        const { found, kept } = await look(guard === undefined ? {} : changesOf(guard), () => false);
        // A guard whose absence does harm alone could not be told from what is planted beside it.
        if (found.failed.length + kept.length > 0) throw new Error(`${guard}: without it something is wrong already`);
        often.set(
          guard,
          rareEvents.names.filter((name) => (found.events[name] ?? 0) >= enough),
        );
      }
      const changes = guard === undefined ? edits : together(changesOf(guard), edits);
      const { found, kept, schedules } = await look(changes, ({ failed }) => failed.length > 0);
      const missing = often.get(guard)!.filter((event) => found.missing.includes(event));
      const how = decayed(name, kept)
        ? undefined
        : (found.failed[0]?.violations[0] ??
          (kept.length > 0 ? "by a plan that was kept" : missing[0] && `never: ${missing[0]}`));
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
