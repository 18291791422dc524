/** The scenarios by name, in the order in which they run. */
import { delta, growth, huge, nochange } from "./changes.ts";
import { fanout } from "./fanout.ts";
import { initial, initial1m, large } from "./first-copy.ts";
import { many } from "./many.ts";
import { publish } from "./publish.ts";
import { resume } from "./resume.ts";
import type { Scenario } from "./scenario.ts";
import { start } from "./start.ts";

export const scenarios: Record<string, Scenario> = {
  initial: initial("settled"),
  "initial-cold": initial("cold"),
  "initial-1m": initial1m("settled"),
  "initial-1m-cold": initial1m("cold"),
  delta: delta("settled"),
  "delta-cold": delta("cold"),
  publish,
  nochange,
  many,
  large,
  resume,
  growth,
  fanout,
  huge,
  start,
};
