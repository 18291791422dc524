/** The quick form of the third part of `npm run test:kill`. */
import t from "tap";
import { line, missed } from "./figures.ts";
import { operate } from "./operating.ts";

t.setTimeout(240_000);

t.test("signals, and disks that take no output, in the middle of a sync", async (t) => {
  const figures = await operate(t, { rounds: 1 }, (fault) => t.comment(fault));
  t.same(missed(figures), [], line(figures));
});
