/** The quick form of `npm run test:kill`; test/integration/crash.test.ts visits every step. */
import t from "tap";
import { line, missed } from "./figures.ts";
import { killEverything } from "./kills.ts";

t.test("whoever is killed, whenever", async (t) => {
  const figures = await killEverything(t, { places: 2, random: 3, commits: 3 }, (fault) => t.comment(fault));
  t.same(missed(figures), [], line(figures));
});
