import fc from "fast-check";
import t from "tap";
import { asSandpiperError, type ErrorCode, meanings, SandpiperError, worstExit } from "../src/errors.ts";

t.test("an error says what happened, what it means and what to do", async (t) => {
  const cause = new Error("inside");
  const error = new SandpiperError("storage", "the disk is full", { hint: "Free some space.", cause });
  t.match(error, {
    name: "SandpiperError",
    code: "storage",
    message: "the disk is full",
    hint: "Free some space.",
    exitCode: 9,
  });
  t.equal(error.cause, cause);
  t.ok(error instanceof Error);
  t.equal("cause" in new SandpiperError("usage", "x"), false);
  t.equal(asSandpiperError(error), error, "the same one");
  t.match(asSandpiperError(cause), { code: "internal", message: "inside", exitCode: 1, cause });
  for (const thrown of ["text", undefined, null, 5, {}])
    t.match(asSandpiperError(thrown), { code: "internal" }, String(thrown));
});

t.test("every code means what docs/exit-codes.md says", async (t) => {
  const exits: Partial<Record<ErrorCode, number>> = {
    internal: 1,
    usage: 2,
    config: 2,
    network: 3,
    protocol: 4,
    auth: 5,
    denied: 6,
    deferred: 7,
    verification: 8,
    storage: 9,
    busy: 10,
    limit: 11,
    interrupted: 130,
    terminated: 143,
  };
  for (const [code, exit] of Object.entries(exits)) t.equal(meanings[code as ErrorCode].exit, exit, code);
  for (const [code, { http, close, exit }] of Object.entries(meanings)) {
    t.ok(http >= 400 && http < 600, `${code}: ${http} is a status of an error`);
    t.ok(
      (close >= 1001 && close <= 1015 && ![1004, 1005, 1006, 1015].includes(close)) || (close >= 4000 && close < 5000),
      `${code}: ${close} may be sent`,
    );
    t.ok(exit > 0 && exit < 256, `${code}: ${exit}`);
  }
  t.equal(meanings.denied.http, meanings.not_found.http, "what is not subscribed answers as what does not exist");
  t.equal(meanings.denied.close, meanings.not_found.close);
});

t.test("the worst exit code decides, in the order of docs/exit-codes.md", async (t) => {
  const order = [1, 9, 8, 4, 11, 5, 6, 3, 10, 7, 20, 0];
  t.equal(worstExit([]), 0);
  t.equal(worstExit([0, 0]), 0);
  fc.assert(
    fc.property(fc.array(fc.constantFrom(...order), { minLength: 1 }), (exits) => {
      const worst = Math.min(...exits.map((exit) => order.indexOf(exit)));
      return worstExit(exits) === order[worst];
    }),
  );
  t.equal(worstExit([1, 130]), 130, "a signal wins over everything");
  t.equal(worstExit([143, 9]), 143);
  t.equal(worstExit([2, 7]), 2);
});
