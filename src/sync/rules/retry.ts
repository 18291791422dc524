/** When a failed try is followed by another. Pure: time and chance are given. */
import { SandpiperError } from "../../errors.ts";

const baseMs = 1000;
const capMs = 60_000;

/** How long to wait after the failure number `attempt` (from 0): full jitter, so that partners who failed together do not come back together. */
export const backoffMs = (attempt: number, random: number): number =>
  Math.round(random * Math.min(capMs, baseMs * 2 ** attempt));

/** `Retry-After` as seconds from now: a number, or a date (RFC 9110); undefined when it says neither. */
export function retryAfterSeconds(header: string | undefined, nowMs: number): number | undefined {
  const text = header?.trim() ?? "";
  if (/^\d{1,9}$/.test(text)) return Number(text);
  // Date.parse takes much more than the dates of HTTP, which begin with the name of a day.
  const at = /^[A-Z][a-z]+, /.test(text) ? Date.parse(text) : Number.NaN;
  return Number.isNaN(at) ? undefined : Math.max(0, Math.ceil((at - nowMs) / 1000));
}

/** What has failed, how often in a row, and how much time there is. */
export interface Failure {
  error: SandpiperError;
  /** Failures before this one without progress in between. */
  attempt: number;
  random: number;
  /** Until no more tries are begun; the last one begins right then. */
  leftMs: number;
  /** Slices wait for a try: one is due, even if time has run out meanwhile. */
  held: boolean;
}

/** Milliseconds to wait before the next try, or the error that ends the run. */
export function nextTry({ error, attempt, random, leftMs, held }: Failure): number | SandpiperError {
  if (!error.retryable || (leftMs <= 0 && !held)) return error;
  const left = Math.max(0, leftMs);
  const askedMs = (error.retryAfter ?? 0) * 1000;
  if (askedMs <= left) return Math.min(left, askedMs + backoffMs(attempt, random));
  return new SandpiperError(error.code, `${error.message}, and asks us to come back in ${error.retryAfter} seconds`, {
    cause: error,
    hint: `That is longer than this run keeps trying (${Math.floor(left / 1000)} seconds of --retry-for are left): run again after that.`,
    retryAfter: error.retryAfter,
  });
}
