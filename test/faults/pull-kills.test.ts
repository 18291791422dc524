/** The quick form of what `npm run test:kill` does to `pull`. */
import t from "tap";
import { line, missed } from "./figures.ts";
import { killPulls } from "./pull-kills.ts";

t.setTimeout(240_000);

t.test("`pull` is killed, whenever", async (t) => {
  const figures = await killPulls(t, { places: 7, random: 2 }, (fault) => t.comment(fault));
  t.same(missed(figures), [], line(figures));
});
