import fc from "fast-check";
import t from "tap";
import { type ErrorCode, meanings, SandpiperError } from "../../../src/errors.ts";
import { backoffMs, nextTry, retryAfterSeconds } from "../../../src/sync/rules/retry.ts";

const failure = (code: ErrorCode, retryAfter?: number) => ({
  error: new SandpiperError(code, "it failed", { retryAfter }),
  attempt: 0,
  random: 0.5,
  leftMs: 300_000,
  held: false,
});

t.test("the wait doubles from a second to a minute, and is anything below", async (t) => {
  t.same(
    [0, 1, 2, 3, 4, 5, 6, 7, 100, 2000].map((attempt) => backoffMs(attempt, 1)),
    [1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000, 60_000, 60_000],
  );
  t.equal(backoffMs(3, 0), 0);
  t.equal(backoffMs(3, 0.25), 2000);
});

t.test("what may pass is tried again, and nothing else", async (t) => {
  const again = Object.keys(meanings).filter((code) => typeof nextTry(failure(code as ErrorCode)) === "number");
  t.same(again.sort(), ["deferred", "network", "rate_limited", "timeout", "unavailable"]);
});

t.test("until the time has passed: the last try begins right then", async (t) => {
  const first = failure("network");
  t.equal(nextTry(first), 500);
  t.equal(nextTry({ ...first, attempt: 6, leftMs: 7000 }), 7000);
  t.equal(nextTry({ ...first, leftMs: 0 }), first.error);
  t.equal(nextTry({ ...first, leftMs: -5 }), first.error);
  t.equal(nextTry({ ...first, leftMs: -5, held: true }), 0, "a slice that was put off gets its try");
});

t.test("Retry-After is heeded, or ends the run", async (t) => {
  t.equal(nextTry(failure("network", 30)), 30_500);
  t.equal(nextTry({ ...failure("network", 30), leftMs: 30_100 }), 30_100);
  const ended = nextTry({ ...failure("network", 600), leftMs: 12_345 });
  t.match(ended, {
    code: "network",
    message: "it failed, and asks us to come back in 600 seconds",
    hint: /12 seconds of --retry-for are left/,
  });
  t.equal(nextTry({ ...failure("network", 600), leftMs: 0 }) instanceof SandpiperError, true);
  const anything = fc.record({ attempt: fc.nat(40), random: fc.double({ min: 0, max: 1, noNaN: true }) });
  fc.assert(
    fc.property(anything, fc.nat(1000), fc.nat(2_000_000), (given, retryAfter, leftMs) => {
      const wait = nextTry({ ...failure("timeout", retryAfter), ...given, leftMs: leftMs + 1 });
      return wait instanceof SandpiperError
        ? retryAfter * 1000 > leftMs
        : wait >= retryAfter * 1000 && wait <= leftMs + 1;
    }),
  );
});

t.test("Retry-After as it is written", async (t) => {
  const now = Date.UTC(2026, 0, 1);
  t.equal(retryAfterSeconds("120", now), 120);
  t.equal(retryAfterSeconds(" 0 ", now), 0);
  t.equal(retryAfterSeconds("Thu, 01 Jan 2026 00:01:30 GMT", now), 90);
  t.equal(retryAfterSeconds("Wed, 31 Dec 2025 00:00:00 GMT", now), 0, "it is past");
  for (const nothing of [undefined, "", "soon", "-1", "1.5", "1e3", "Thu, never", "99999999999"])
    t.equal(retryAfterSeconds(nothing, now), undefined, `${nothing}`);
});
