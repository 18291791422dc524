/**
 * Plans that found something wrong in the program once, made small (test/sim/kept/). They are run with every test, and nothing may be
 * wrong any more; with the fault put back (mutants.ts, by the name `found`) they find it again.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { projectRoot } from "../harness/project-root.ts";
import type { Plan } from "./plan.ts";

const directory = join(projectRoot, "test/sim/kept");

export const keptPlans: readonly { found: string; plan: Plan }[] = readdirSync(directory)
  .sort()
  .map((name) => JSON.parse(readFileSync(join(directory, name), "utf8")) as { found: string; plan: Plan });
