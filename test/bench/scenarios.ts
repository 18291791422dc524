/** The scenarios by name, in the order in which they run. */
import { delta, growth, nochange } from "./changes.ts";
import { fanout } from "./fanout.ts";
import { initial, initial1m, large } from "./first-copy.ts";
import { many } from "./many.ts";
import { resume } from "./resume.ts";
import type { Scenario } from "./scenario.ts";

export const scenarios: Record<string, Scenario> = {
  initial,
  "initial-1m": initial1m,
  delta,
  nochange,
  many,
  large,
  resume,
  growth,
  fanout,
};
