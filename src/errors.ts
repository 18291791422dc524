/**
 * The one error type of the program, and the one table that says what each code means to
 * an operator (exit code), to an HTTP client (status), to a websocket peer (close code) and
 * to a retry loop.
 */

interface Meaning {
  /** Exit code of a command that ends with this error (docs/exit-codes.md). */
  exit: number;
  /** Status of an HTTP answer. */
  http: number;
  /** Close code of a websocket that ends with this error. */
  close: number;
  /** Whether a sync tries again: the same thing may succeed a little later with nothing changed. */
  retryable: boolean;
}

const m = (exit: number, http: number, close: number, retryable = false): Meaning => ({ exit, http, close, retryable });

export const meanings = {
  internal: m(1, 500, 1011),
  usage: m(2, 400, 1008),
  not_found: m(2, 404, 4403),
  conflict: m(2, 409, 4409),
  config: m(2, 500, 1011),
  schema: m(2, 503, 1011),
  method: m(2, 405, 1008),
  media_type: m(2, 415, 1008),
  network: m(3, 502, 1001, true),
  unavailable: m(3, 503, 1013, true),
  timeout: m(3, 408, 4408, true),
  rate_limited: m(3, 429, 4429, true),
  untrusted: m(3, 502, 1001),
  unreachable: m(3, 502, 1001),
  protocol: m(4, 400, 4400),
  auth: m(5, 401, 4401),
  forbidden: m(5, 403, 4403),
  denied: m(6, 404, 4403),
  deferred: m(7, 409, 4423, true),
  verification: m(8, 409, 4422),
  storage: m(9, 503, 1013),
  busy: m(10, 409, 4409),
  limit: m(11, 413, 1009),
  hung_up: m(129, 503, 1001),
  interrupted: m(130, 503, 1001),
  quit: m(131, 503, 1001),
  terminated: m(143, 503, 1012),
} as const satisfies Record<string, Meaning>;

export type ErrorCode = keyof typeof meanings;

/** An error that says what happened (`message`), what it means (`code`) and what to do next (`hint`). */
export class SandpiperError extends Error {
  readonly code: ErrorCode;
  readonly hint: string | undefined;
  /** Seconds after which the other side asked us to come back. */
  readonly retryAfter: number | undefined;

  constructor(
    code: ErrorCode,
    message: string,
    options: { hint?: string | undefined; cause?: unknown; retryAfter?: number | undefined } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "SandpiperError";
    this.code = code;
    this.hint = options.hint;
    this.retryAfter = options.retryAfter;
  }

  get exitCode(): number {
    return meanings[this.code].exit;
  }

  /** Whether a sync tries again. */
  get retryable(): boolean {
    return meanings[this.code].retryable;
  }
}

/** One error for what does not exist and for what the caller may not see: it must not depend on anything else. */
export const missing = (what: string) => new SandpiperError("not_found", `there is no such ${what}`);

/** Whatever was thrown, as a SandpiperError; what is not known becomes `internal`, with the original as cause. */
export function asSandpiperError(thrown: unknown): SandpiperError {
  if (thrown instanceof SandpiperError) return thrown;
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  return new SandpiperError("internal", message, {
    cause: thrown,
    hint: "This is a fault of sandpiper itself: run again with --log.level debug and report what it prints.",
  });
}

/** Exit codes from the worst to the mildest: the worst of several outcomes decides what a run returns. */
const worstFirst = [1, 9, 8, 4, 11, 5, 6, 3, 10, 7, 20, 0];

/** The exit code that a run with these outcomes returns; 0 for none. Signals and usage win over everything. */
export function worstExit(exits: readonly number[]): number {
  const outside = exits.filter((exit) => !worstFirst.includes(exit));
  if (outside.length > 0) return Math.max(...outside);
  return worstFirst.find((exit) => exits.includes(exit)) ?? 0;
}
