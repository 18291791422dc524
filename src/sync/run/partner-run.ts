/**
 * A run with one primary, between its lock and its report. It is always in one of these states; the method that is named after a
 * state does its work and says which one is next. There are no other ways from one to another.
 *
 *     logging in -> listing      there is a token
 *     listing    -> syncing      the primary's list is applied, and slices are due
 *                -> over         none is due
 *     syncing    -> over         each slice has its result
 *                -> syncing      one slice has ended the session: the others go on in a new one, as long as each gets further
 *                -> renewing     the token has run out
 *                -> failed       the session has failed, or a slice of it is held for another try
 *     renewing   -> syncing      there is a new token
 *     failed     -> waiting      it may pass, and there is time left (sync/rules/retry.ts)
 *                -> over         with this error, unless the report tells it of a slice already
 *     waiting    -> logging in   the time has passed
 *
 * Whatever a state throws is a failure as well. Only an interruption leaves the machine at once.
 */

import { setMaxListeners } from "node:events";
import { startRun } from "../../activity/run-store.ts";
import { readSubsEtag } from "../../companies/company-store.ts";
import { asEver } from "../../database/session-settings.ts";
import { asSandpiperError, SandpiperError } from "../../errors.ts";
import { step } from "../../step.ts";
import { refuse } from "../protocol/guards.ts";
import type { LocalSlice, SliceResult } from "../protocol/secondary-port.ts";
import { nextTry } from "../rules/retry.ts";
import { Room } from "../secondary/room.ts";
import { sweepStages } from "../secondary/stage.ts";
import type { Login } from "../transport/primary-client.ts";
import { oneSession } from "./one-session.ts";
import type { PartnerContext } from "./partner-context.ts";
import { updateSubscriptions } from "./update-subscriptions.ts";

type State =
  | { name: "logging in" }
  | { name: "listing"; login: Login }
  /** `renewed`: the token is new, and no slice has got further with it yet. */
  | { name: "syncing"; login: Login; renewed: boolean }
  | { name: "renewing" }
  | { name: "failed"; error: SandpiperError }
  | { name: "waiting"; error: SandpiperError; ms: number }
  | Over;
type Over = { name: "over"; error: SandpiperError | undefined };

const over = (error?: SandpiperError): Over => ({ name: "over", error });

export class PartnerRun {
  readonly #context: PartnerContext;
  readonly #room: Room;
  /** Slices that are still to be synced. */
  #remaining: LocalSlice[] = [];
  /** Subscriptions that the primary took away. */
  #lost = 0;
  /** A slice that was done was removed here, and is now one that was never synced. */
  #removedHere = false;
  /** Why a slice of the last session is held for another try, if one is. */
  #held: SandpiperError | undefined;
  /** Slices in whose middle a token ran out. */
  readonly #expiredAt = new Set<string>();
  /** Failures in a row, and how many results there were before the last try. */
  #failures = 0;
  #resultsBefore = 0;
  #retryUntilMs = 0;

  constructor(context: PartnerContext) {
    const { app, session, company } = context;
    this.#context = context;
    this.#room = new Room(app.db, session, company, app.config.limits.primary_bytes);
  }

  /** Runs; how it went is in the report afterwards. @throws when the run is interrupted, or our own database fails. */
  async go(): Promise<void> {
    const { company, session, order, outside, report } = this.#context;
    const { runId, options, signal } = order;
    step("s.start");
    signal?.throwIfAborted();
    if (signal !== undefined) setMaxListeners(0, signal);
    const onAbort = () => session.destroy();
    signal?.addEventListener("abort", onAbort, { once: true });
    try {
      if (options.rehearsal) await session.run("/* partnerRunReadOnly */ SET default_transaction_read_only = on");
      else await startRun(session, runId, company.id);
      this.#retryUntilMs = outside.nowMs() + options.retryForSeconds * 1000;
      let state: State = { name: "logging in" };
      while (state.name !== "over") state = await this.#after(state);
      report.error = state.error;
      const current = report.results
        .filter((result) => result.outcome === "unchanged")
        .map((result) => result.slice.id);
      if (!options.rehearsal) await sweepStages(session, company.id, current);
      report.error ??= this.#shortfall();
    } finally {
      signal?.removeEventListener("abort", onAbort);
      if (options.rehearsal)
        await session.run(`/* partnerRunEnd */ ${asEver("default_transaction_read_only")}`).catch(() => {});
    }
  }

  async #after(state: Exclude<State, Over>): Promise<State> {
    try {
      switch (state.name) {
        case "logging in":
          return await this.#loggingIn();
        case "listing":
          return await this.#listing(state.login);
        case "syncing":
          return await this.#syncing(state.login, state.renewed);
        case "renewing":
          return await this.#renewing();
        case "failed":
          return this.#failed(state.error);
        case "waiting":
          return await this.#waiting(state.error, state.ms);
      }
    } catch (thrown) {
      if (this.#context.order.signal?.aborted) throw thrown;
      return { name: "failed", error: asSandpiperError(thrown) };
    }
  }

  async #loggingIn(): Promise<State> {
    this.#resultsBefore = this.#context.report.results.length;
    return { name: "listing", login: await this.#login() };
  }

  /** Takes over the primary's list: anew for every try, since what is here, and what the primary offers, may have changed. */
  async #listing(login: Login): Promise<State> {
    const { company, order, outside, report, session } = this.#context;
    const done = new Map(report.results.map(({ slice }) => [slice.id, slice.key]));
    const offers = await outside.offers(login, await readSubsEtag(session, company.id));
    const updated = await updateSubscriptions(session, company, offers, order);
    step("s.subs");
    report.notices.push(...updated.notices);
    this.#lost += updated.lost;
    this.#remaining = updated.slices.filter((slice) => !done.has(slice.id));
    this.#removedHere ||= updated.slices.some((slice) => done.has(slice.id) && done.get(slice.id) !== slice.key);
    return this.#remaining.length === 0 ? over() : { name: "syncing", login, renewed: false };
  }

  async #syncing(login: Login, renewed: boolean): Promise<State> {
    const { report } = this.#context;
    const before = this.#remaining.length;
    this.#held = undefined;
    const error = await oneSession(this.#context, this.#room, login, this.#remaining, (result) =>
      this.#isFinal(result),
    );
    const finished = new Set(report.results.map((result) => result.slice.id));
    this.#remaining = this.#remaining.filter((slice) => !finished.has(slice.id));
    if (error === undefined) return this.#held === undefined ? over() : { name: "failed", error: this.#held };
    const progress = this.#remaining.length < before;
    // A token that has run out is renewed, once until there is progress: what is refused again stays refused.
    const renew = error.code === "auth" && (progress || !renewed);
    // `deferred` concerns a slice; whatever else passes, or asks for other rights, concerns all of them.
    const ofSlice = error.code === "deferred" || !(error.retryable || ["auth", "forbidden"].includes(error.code));
    if (this.#remaining.length === 0 || !(renew || (progress && ofSlice))) return { name: "failed", error };
    return renew ? { name: "renewing" } : { name: "syncing", login, renewed: false };
  }

  async #renewing(): Promise<State> {
    return { name: "syncing", login: await this.#login(), renewed: true };
  }

  #failed(error: SandpiperError): State {
    const { outside, report } = this.#context;
    if (report.results.length > this.#resultsBefore) this.#failures = 0;
    const next = nextTry({
      error,
      attempt: this.#failures++,
      random: outside.random(),
      leftMs: this.#retryUntilMs - outside.nowMs(),
      held: this.#held !== undefined,
    });
    if (!(next instanceof SandpiperError)) return { name: "waiting", error, ms: next };
    const told = this.#remaining.length === 0 && report.results.some((result) => result.error === error);
    return over(told ? undefined : next);
  }

  async #waiting(error: SandpiperError, ms: number): Promise<State> {
    const { emit, order, outside } = this.#context;
    emit({ type: "retry", error, waitMs: ms });
    const wait = () => outside.wait(ms);
    await (order.idle?.(wait) ?? wait());
    return { name: "logging in" };
  }

  async #login(): Promise<Login> {
    const { company, outside } = this.#context;
    const answer = await outside.login();
    if (answer.serverId !== company.id) {
      refuse(
        "login.server",
        new SandpiperError(
          "protocol",
          `the server at ${company.syncAddr} is ${answer.serverId}, not the ${company.id} that ${company.name} was registered as`,
          { hint: "Ask the partner whether it moved; if that is right, register it as a new company." },
        ),
      );
    }
    step("s.token");
    return answer;
  }

  /** Notes how a slice fared. @returns whether that is final: it is not when the slice is tried again. */
  #isFinal(result: SliceResult): boolean {
    const { emit, outside, report } = this.#context;
    const { error, slice } = result;
    // A token that runs out says nothing about a slice, which goes on with a new one; unless it uses up that as well.
    if (error?.code === "auth" && !this.#expiredAt.has(slice.id)) {
      this.#expiredAt.add(slice.id);
      return false;
    }
    if (error?.retryable && outside.nowMs() < this.#retryUntilMs) {
      this.#held = error;
      return false;
    }
    report.results.push(result);
    if (result.damaged !== undefined) report.warnings.push(damageOf(result));
    emit({ type: "slice", result });
    return true;
  }

  /** Why a run in which nothing failed is no success all the same. */
  #shortfall(): SandpiperError | undefined {
    if (this.#lost > 0) {
      return new SandpiperError(
        "denied",
        `${this.#lost === 1 ? "a subscription was" : `${this.#lost} subscriptions were`} withdrawn or switched off by the primary`,
        { hint: "The data here is kept. Ask the primary if that is not expected." },
      );
    }
    if (this.#removedHere) {
      return new SandpiperError("deferred", "a slice was removed here after this run had synced it", {
        hint: "It is subscribed to, and is fetched anew by the next run.",
      });
    }
    return undefined;
  }
}

/** What was wrong with a slice, and is put right. */
function damageOf({ slice, damaged }: SliceResult): string {
  const where = [damaged?.here === true ? ["here"] : [], damaged?.there === true ? ["at the primary"] : []].flat();
  return `damage was found: what was noted of slice ${slice.name} ${where.join(" and ")} did not fit its grains; they were counted again, and it is put right`;
}
