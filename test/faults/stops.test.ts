/** The quick form of the second part of `npm run test:kill`. */
import t from "tap";
import { line, missed } from "./figures.ts";
import { stopDatabases } from "./stops.ts";

t.setTimeout(240_000);

t.test("a database that is stopped without a word, on either side", async (t) => {
  const figures = await stopDatabases(t, { places: 1, random: 0 }, (fault) => t.comment(fault));
  t.same(missed(figures), [], line(figures));
});
