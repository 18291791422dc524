/** The quick form: one run of a secondary among evil primaries. */
import t from "tap";
import { sufferCrowd } from "./evil-crowd.ts";
import { line, missed } from "./figures.ts";

t.setTimeout(240_000);

t.test("evil primaries hurt neither the secondary nor what others deliver", async (t) => {
  const figures = await sufferCrowd(t, 1, (fault) => t.comment(fault));
  t.same(missed(figures), [], line(figures));
});
