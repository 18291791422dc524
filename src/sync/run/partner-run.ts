/** What a run does between its lock and its report: log in, take the subscriptions, sync, and try again what failed for the moment. */
import { setMaxListeners } from "node:events";
import { startRun } from "../../activity/run-store.ts";
import type { App } from "../../app.ts";
import type { Company } from "../../companies/company.ts";
import { readSubsEtag } from "../../companies/company-store.ts";
import type { Session } from "../../database/database.ts";
import { asEver } from "../../database/session-settings.ts";
import { asSandpiperError, SandpiperError } from "../../errors.ts";
import { step } from "../../step.ts";
import { programName } from "../../version.ts";
import { drive } from "../protocol/effects.ts";
import type { LocalSlice, Run, SliceResult } from "../protocol/secondary-port.ts";
import { secondarySession } from "../protocol/secondary-session.ts";
import { nextTry } from "../rules/retry.ts";
import type { StoredSlice } from "../secondary/apply.ts";
import { Room } from "../secondary/room.ts";
import { SecondaryAdapter } from "../secondary/secondary-adapter.ts";
import { sweepStages } from "../secondary/stage.ts";
import type { Login } from "../transport/primary-client.ts";
import type { Outside } from "./outside.ts";
import type { PartnerReport } from "./report.ts";
import { updateSubscriptions } from "./update-subscriptions.ts";

export interface PartnerOptions {
  runId: string;
  /** A rehearsal: nothing is changed here. */
  test: boolean;
  allowDrops: boolean;
  waitSeconds: number;
  /** Only the slice of this subscription, by its id. */
  onlySubscription?: string | undefined;
  signal?: AbortSignal | undefined;
  /** For so long what fails only for the moment is tried again; 0: never. */
  retryForSeconds: number;
  /** Called around each wait for the next try. */
  onWait?: ((error: SandpiperError, ms: number, wait: () => Promise<void>) => Promise<void>) | undefined;
  /** The primary lets us wait for a place, behind so many others. */
  onQueued?: ((ahead: number) => void) | undefined;
  onProgress?: ((slice: LocalSlice, grains: number, bytes: number) => void) | undefined;
  onResult?: ((result: SliceResult) => void) | undefined;
}

/** Why a run was interrupted. */
export const abortReason = (signal: AbortSignal): SandpiperError =>
  signal.reason instanceof SandpiperError ? signal.reason : new SandpiperError("interrupted", "interrupted");

export class PartnerRun {
  /** Slices that are still to be synced. */
  #remaining: StoredSlice[] = [];
  /** Subscriptions that the primary took away. */
  #lost = 0;
  /** A slice that was done was removed here, and is now one that was never synced. */
  #removedHere = false;
  /** Why a slice of the last session is tried again, if one is. */
  #held: SandpiperError | undefined;
  /** Slices in whose middle a token ran out. */
  readonly #expiredAt = new Set<string>();
  readonly #room: Room;
  #queued = false;
  #retryUntilMs = 0;

  constructor(
    private readonly app: App,
    private readonly company: Company,
    private readonly options: PartnerOptions,
    private readonly report: PartnerReport,
    private readonly session: Session,
    private readonly outside: Outside,
    private readonly startedMs: number,
  ) {
    this.#room = new Room(app.db, session, company, app.config.limits.primary_bytes);
  }

  async go(): Promise<void> {
    const { company, options, report, session } = this;
    step("s.start");
    options.signal?.throwIfAborted();
    if (options.signal !== undefined) setMaxListeners(0, options.signal);
    const onAbort = () => session.destroy();
    options.signal?.addEventListener("abort", onAbort, { once: true });
    try {
      if (options.test) await session.run("SET default_transaction_read_only = on");
      else await startRun(session, options.runId, company.id);
      report.error = await this.#tryUntilDone();
      const current = report.results
        .filter((result) => result.outcome === "unchanged")
        .map((result) => result.slice.id);
      if (!options.test) await sweepStages(session, company.id, current);
      if (this.#lost > 0) {
        report.error ??= new SandpiperError(
          "denied",
          `${this.#lost === 1 ? "a subscription was" : `${this.#lost} subscriptions were`} withdrawn or switched off by the primary`,
          {
            hint: "The data here is kept. Ask the primary if that is not expected.",
          },
        );
      }
      if (this.#removedHere) {
        report.error ??= new SandpiperError("deferred", "a slice was removed here after this run had synced it", {
          hint: "It is subscribed to, and is fetched anew by the next run.",
        });
      }
    } finally {
      options.signal?.removeEventListener("abort", onAbort);
      if (options.test) await session.run(asEver("default_transaction_read_only")).catch(() => {});
    }
  }

  /** Tries, and tries again what is left as long as that may help. @returns what ended it early, if anything did. */
  async #tryUntilDone(): Promise<SandpiperError | undefined> {
    const { options, report, outside } = this;
    this.#retryUntilMs = outside.nowMs() + options.retryForSeconds * 1000;
    for (let attempt = 0; ; attempt++) {
      const finished = report.results.length;
      const error = await this.#try();
      if (error === undefined) return undefined;
      if (report.results.length > finished) attempt = 0;
      const leftMs = this.#retryUntilMs - outside.nowMs();
      const next = nextTry({ error, attempt, random: outside.random(), leftMs, held: this.#held !== undefined });
      // A slice that ended its session has said so already.
      if (next instanceof SandpiperError) {
        const told = this.#remaining.length === 0 && report.results.some((result) => result.error === error);
        return told ? undefined : next;
      }
      const wait = () => outside.wait(next);
      await (options.onWait?.(error, next, wait) ?? wait());
    }
  }

  /** Does what is left to do. @returns why some of it is still left. */
  async #try(): Promise<SandpiperError | undefined> {
    const { options, report } = this;
    try {
      let credentials = await this.#login();
      // Taken anew for every try: what is here, and what the primary offers, may have changed since the last.
      const done = new Map(report.results.map((result) => [result.slice.id, (result.slice as StoredSlice).key]));
      const due = await this.#takeSubscriptions(credentials);
      this.#remaining = due.filter((slice) => !done.has(slice.id));
      this.#removedHere ||= due.some((slice) => done.has(slice.id) && done.get(slice.id) !== slice.key);
      let renewed = false;
      // A session that one slice ended goes on with the others in a new one, as long as each gets further.
      while (this.#remaining.length > 0) {
        const before = this.#remaining.length;
        const error = await this.#oneSession(credentials, this.#remaining);
        const finished = new Set(report.results.map((result) => result.slice.id));
        this.#remaining = this.#remaining.filter((slice) => !finished.has(slice.id));
        if (error === undefined) return this.#held;
        const progress = this.#remaining.length < before;
        // A token that has run out is renewed, once until there is progress: what is refused again stays refused.
        const renew: boolean = error.code === "auth" && (progress || !renewed);
        // `deferred` concerns a slice; whatever else passes, or asks for other rights, concerns all of them.
        const ofSlice = error.code === "deferred" || !(error.retryable || ["auth", "forbidden"].includes(error.code));
        const again = renew || (progress && ofSlice);
        if (this.#remaining.length === 0 || !again) return error;
        renewed = renew;
        if (renew) credentials = await this.#login();
      }
      return undefined;
    } catch (thrown) {
      if (options.signal?.aborted) throw thrown;
      return asSandpiperError(thrown);
    }
  }

  /** Takes over the primary's list. @returns the slices to sync. */
  async #takeSubscriptions(credentials: Login): Promise<StoredSlice[]> {
    const { company, options, report, session } = this;
    const offers = await this.outside.offers(credentials, await readSubsEtag(session, company.id));
    const updated = await updateSubscriptions(session, company, offers, options);
    step("s.subs");
    report.notices.push(...updated.notices);
    this.#lost += updated.lost;
    return updated.slices;
  }

  /** Notes how a slice fared. @returns whether that is final: it is not when the slice is tried again. */
  #finished(result: SliceResult): boolean {
    // A token that runs out says nothing about a slice, which goes on with a new one; unless it uses up that as well.
    if (result.error?.code === "auth" && !this.#expiredAt.has(result.slice.id)) {
      this.#expiredAt.add(result.slice.id);
      return false;
    }
    if (result.error?.retryable && this.outside.nowMs() < this.#retryUntilMs) {
      this.#held = result.error;
      return false;
    }
    this.report.results.push(result);
    this.options.onResult?.(result);
    return true;
  }

  async #login(): Promise<Login> {
    const { company } = this;
    const answer = await this.outside.login();
    if (answer.serverId !== company.id) {
      throw new SandpiperError(
        "protocol",
        `the server at ${company.syncAddr} is ${answer.serverId}, not the ${company.id} that ${company.name} was registered as`,
        {
          hint: "Ask the partner whether it moved; if that is right, register it as a new company.",
        },
      );
    }
    step("s.token");
    return answer;
  }

  /** @returns the error that ended the session, if one did. */
  async #oneSession(credentials: Login, slices: StoredSlice[]): Promise<SandpiperError | undefined> {
    const { app, company, options, report, session } = this;
    let adapter: SecondaryAdapter | undefined;
    let closing: Promise<void> | undefined;
    const run: Run = {
      id: options.runId,
      test: options.test,
      primaryId: company.id,
      slices,
      allowDrops: options.allowDrops,
      maxGrains: app.config.limits.max_grains,
      maxGrainBytes: app.config.limits.max_grain_bytes,
      program: programName,
      unconfirmed: 0,
    };
    const finished = new Set<string>();
    this.#held = undefined;
    try {
      options.signal?.throwIfAborted();
      const channel = await this.outside.connect(credentials);
      const close = () => {
        closing ??= channel.close(1000);
      };
      options.signal?.addEventListener("abort", close, { once: true });
      try {
        const watcher = {
          progress: (slice: LocalSlice, grains: number, bytes: number) => options.onProgress?.(slice, grains, bytes),
          finished: (result: SliceResult) => {
            const final = this.#finished(result);
            if (final) finished.add(result.slice.id);
            return final;
          },
          queued: (ahead: number) => {
            if (!this.#queued) options.onQueued?.(ahead);
            this.#queued = true;
          },
        };
        adapter = new SecondaryAdapter({
          db: app.db,
          session,
          room: this.#room,
          channel,
          companyId: company.id,
          runId: options.runId,
          test: options.test,
          watcher,
          elapsedMs: () => this.outside.nowMs() - this.startedMs,
        });
        await drive(secondarySession(run), adapter);
      } finally {
        options.signal?.removeEventListener("abort", close);
        close();
        await closing;
      }
      return undefined;
    } catch (thrown) {
      if (options.signal?.aborted) throw abortReason(options.signal);
      const error = asSandpiperError(thrown);
      if (
        finished.size === slices.length &&
        run.unconfirmed > 0 &&
        (error.code === "network" || error.code === "timeout")
      ) {
        report.warnings.push(
          `the primary was gone before it confirmed; ${run.unconfirmed === 1 ? "a confirmation" : `${run.unconfirmed} confirmations`} will be sent by the next run`,
        );
        return undefined;
      }
      return error;
    } finally {
      await adapter?.dispose();
    }
  }
}
