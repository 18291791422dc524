/** The simulation, as far as there is time for it in every run of the tests: `npm run sim` and `npm run sim:mutants` do more. */
import t from "tap";
import { ask, checkKept, replayed, runSeeds } from "./ask.ts";
import { planOf } from "./draw.ts";
import { look } from "./look.ts";
import { guards, mutants } from "./mutants.ts";
import type { Plan } from "./plan.ts";
import { shrink } from "./shrink.ts";
import { type Edits, fileWith, smallLimits } from "./small-limits.ts";

t.setTimeout(300_000);

const copy = smallLimits();
t.teardown(() => copy.remove());

t.test("2,000 schedules with faults: nothing is wrong, and all that is rare has happened", async (t) => {
  const { schedules, actions, failed, missing, ms } = await runSeeds(copy.directory, 1, 2000);
  t.same(failed, []);
  t.same(missing, [], "every named event was reached");
  t.equal(schedules, 2000);
  t.ok(actions > 10_000, `${actions} faults`);
  t.comment(`${Math.round((schedules / ms) * 60_000)} schedules a minute`);
});

t.test("plans that found something once find nothing any more", async (t) => {
  const wrong = await checkKept(copy.directory);
  t.ok(Object.keys(wrong).length >= 8);
  t.same(
    Object.entries(wrong).filter(([, violations]) => violations.length > 0),
    [],
  );
});

t.test("the same plan gives the same trace, line by line", async (t) => {
  const [one, other] = await Promise.all([1, 2].map(() => replayed(copy.directory, { ask: "replay seed", seed: 42 })));
  t.ok(one!.lines.length > 20);
  t.same(one!.lines, other!.lines);
});

t.test("nothing of the program can reach the clock, chance, files or sockets", async (t) => {
  const answer = await ask(copy.directory, { ask: "sealed" });
  t.match(answer, { sealed: { open: [] } });
  t.ok("sealed" in answer && answer.sealed.tried > 20);
});

t.test("a fault that is planted is found", async (t) => {
  const { edits } = mutants.find(({ name }) => name === "the count of a slice is not stored")!;
  const { found, kept } = await look(edits, ({ failed }) => failed.length > 0);
  t.ok(found.failed.length + kept.length > 0);
});

t.test("each fault that can be planted still finds its place in the program", (t) => {
  for (const { lines = [] } of [...mutants.map(({ edits }) => edits as Edits), ...(Object.values(guards) as Edits[])])
    for (const [from] of lines) t.ok(fileWith(from).endsWith(".js"), from);
  t.end();
});

t.test("a plan that fails is made as small as it can be and still fail", async (t) => {
  const plan = planOf(7);
  const [wanted] = plan.actions.filter(({ kind }) => kind === "run");
  const fails = async ({ actions }: Plan) => actions.includes(wanted!);
  const small = await shrink(plan, fails);
  t.same(small.actions, [wanted]);
  t.equal(small.secondaries.length, 1);
  t.equal(small.primaries.length, 1);
});
