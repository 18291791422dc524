/** The quick form of `npm run test:evil`, and that no guard is overlooked. */
import t from "tap";
import { findGuards } from "./evil/guards.ts";
import { sufferEvil } from "./evil.ts";
import { line, missed } from "./figures.ts";

t.setTimeout(120_000);

t.test("the guards of the protocol are found in it", async (t) => {
  const { guards, edits } = findGuards();
  t.ok(guards.length >= 78, `${guards.length} guards`);
  t.equal(new Set(guards.map(({ name }) => name)).size, guards.length, "each has a name of its own");
  for (const [file, edit] of Object.entries(edits))
    t.throws(() => edit("violation(5); violation(6); violation(7)"), { message: /not understood/ }, file);
});

t.test("an evil primary and an evil secondary", async (t) => {
  const figures = await sufferEvil({ patient: false, every: 12 }, (fault) => t.comment(fault));
  t.same(missed(figures), [], line(figures));
});
