/** The quick form of `npm run test:cuts`. */
import t from "tap";
import { sweepCuts } from "./cuts.ts";
import { line, missed } from "./figures.ts";

t.test("a connection that is cut, anywhere", async (t) => {
  const figures = await sweepCuts(t, { inProcess: 60, commands: 2, dead: 1 }, (fault) => t.comment(fault));
  t.same(missed(figures), [], line(figures));
});
