/** In what state a partner or a primary is, and which comes first. */
import t from "tap";
import {
  type PartnerFacts,
  type PrimaryFacts,
  partnersByTrouble,
  primariesByTrouble,
} from "../../../src/activity/rules/status.ts";
import type { CompanyId } from "../../../src/ids.ts";

const day = (n: number) => new Date(Date.UTC(2026, 0, n));
const named = (name: string) => ({ id: name as CompanyId, name, active: true, errorAt: null, error: null });

t.test("partners", async (t) => {
  const partner = (name: string, facts: Partial<PartnerFacts> = {}): PartnerFacts => ({
    ...named(name),
    slices: 2,
    current: 2,
    currentSince: day(1),
    behindSince: null,
    lastContact: day(1),
    lastSuccess: day(1),
    ...facts,
  });
  const listed = partnersByTrouble([
    partner("off", { active: false, error: "failed" }),
    partner("a"),
    partner("b"),
    partner("nothing", { slices: 0, current: 0, currentSince: null }),
    partner("behind", { current: 1, behindSince: day(2) }),
    partner("new", { current: 0, lastSuccess: null, currentSince: null, behindSince: day(3) }),
    partner("failing", { errorAt: day(4), error: "failed pads" }),
  ]);
  t.same(
    listed.map(({ name, state, since }) => [name, state, since]),
    [
      ["failing", "current", day(1)],
      ["new", "never synced", day(3)],
      ["behind", "behind", day(2)],
      ["nothing", "no subscriptions", null],
      ["a", "current", day(1)],
      ["b", "current", day(1)],
      ["off", "inactive", day(1)],
    ],
  );
});

t.test("primaries", async (t) => {
  const primary = (name: string, facts: Partial<PrimaryFacts> = {}): PrimaryFacts => ({
    ...named(name),
    lastRun: day(1),
    finishedAt: day(2),
    exitCode: 0,
    lastSuccess: day(2),
    ...facts,
  });
  const none = { lastRun: null, finishedAt: null, exitCode: null, lastSuccess: null };
  const listed = primariesByTrouble([
    primary("off", { active: false }),
    primary("ok"),
    primary("an older failure", { errorAt: day(0), error: "failed pads" }),
    primary("running", { finishedAt: null, exitCode: null }),
    primary("new", none),
    primary("slice failed", { exitCode: 8, errorAt: day(1), error: "failed pads" }),
    primary("run failed", { exitCode: 3, errorAt: day(0), error: "failed pads" }),
  ]);
  t.same(
    listed.map(({ name, state, errorAt, error }) => [name, state, errorAt, error]),
    [
      ["slice failed", "failed", day(1), "failed pads"],
      ["run failed", "failed", day(2), "exit code 3"],
      ["new", "never synced", null, null],
      ["running", "not finished", null, null],
      ["ok", "ok", null, null],
      ["an older failure", "ok", day(0), "failed pads"],
      ["off", "inactive", null, null],
    ],
  );
});
