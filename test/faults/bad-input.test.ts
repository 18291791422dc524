/** The quick form of `npm run test:badinput`. */
import t from "tap";
import { sendBadInputs } from "./bad-input.ts";
import { line, missed } from "./figures.ts";

t.setTimeout(240_000);

t.test("what must be refused is refused, in the one right way", async (t) => {
  const figures = await sendBadInputs(t, { healthySyncs: 0, patient: false }, (fault) => t.comment(fault));
  t.same(missed(figures), [], line(figures));
});
