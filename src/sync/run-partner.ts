/** One run with one primary: lock, login, subscriptions, sessions, report. */
import { setMaxListeners } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import type { App } from "../app.ts";
import { requireSecret } from "../config.ts";
import type { Session } from "../database.ts";
import { asSandpiperError, SandpiperError, worstExit } from "../errors.ts";
import { step } from "../step.ts";
import { openApiKey } from "../subscriptions/api-key.ts";
import type { Company } from "../subscriptions/company.ts";
import { readSealedKey, readSubsEtag } from "../subscriptions/company-store.ts";
import type { SyncTarget } from "../subscriptions/sync-address.ts";
import { programName } from "../version.ts";
import type { StoredSlice } from "./apply.ts";
import { connectChannel } from "./connect.ts";
import { drive } from "./effects.ts";
import { finishRun, startRun } from "./outbox-store.ts";
import { withPairLock } from "./pair-lock.ts";
import { fetchOffers, type Login, login } from "./primary-client.ts";
import { type PartnerReport, summary } from "./report.ts";
import { nextTry } from "./retry.ts";
import { SecondaryAdapter } from "./secondary-adapter.ts";
import type { LocalSlice, Run, SliceResult } from "./secondary-port.ts";
import { secondarySession } from "./secondary-session.ts";
import { sweepStages } from "./stage.ts";
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

/** Runs a sync with one primary. Never throws for what happens in it: the report says how it went. */
export async function runPartner(app: App, company: Company, options: PartnerOptions): Promise<PartnerReport> {
  const report: PartnerReport = {
    company: { id: company.id, name: company.name },
    runId: options.runId,
    test: options.test,
    exitCode: 0,
    results: [],
    notices: [],
    warnings: [],
    traffic: { in: 0, out: 0 },
    durationMs: 0,
  };
  const startedMs = performance.now();
  try {
    await app.db.session((session) =>
      withPairLock(session, company, options.waitSeconds, options.signal, () =>
        new PartnerRun(app, company, options, report, session, startedMs).go(),
      ),
    );
  } catch (thrown) {
    report.error = options.signal?.aborted ? abortReason(options.signal) : asSandpiperError(thrown);
  }
  report.durationMs = Math.round(performance.now() - startedMs);
  report.exitCode = exitCode(report);
  if (!options.test) {
    await finishRun(app.db, options.runId, report.exitCode, summary(report)).catch((error) => {
      report.warnings.push(`the run could not be recorded: ${asSandpiperError(error).message}`);
    });
  }
  return report;
}

function exitCode(report: PartnerReport): number {
  const exits = report.results.flatMap((result) => (result.error === undefined ? [] : [result.error.exitCode]));
  if (report.error !== undefined) exits.push(report.error.exitCode);
  return worstExit(exits);
}

const abortReason = (signal: AbortSignal): SandpiperError =>
  signal.reason instanceof SandpiperError ? signal.reason : new SandpiperError("interrupted", "interrupted");

const targetOf = ({ syncAddr, syncPrivate }: Company): SyncTarget => ({ url: syncAddr!, mayBePrivate: syncPrivate });

class PartnerRun {
  /** Slices that are still to be synced; undefined until the primary's list was taken over. */
  #remaining: StoredSlice[] | undefined;
  /** Subscriptions that the primary took away. */
  #lost = 0;
  /** Why a slice of the last session is tried again, if one is. */
  #held: SandpiperError | undefined;
  #queued = false;
  #retryUntilMs = 0;

  constructor(
    private readonly app: App,
    private readonly company: Company,
    private readonly options: PartnerOptions,
    private readonly report: PartnerReport,
    private readonly session: Session,
    private readonly startedMs: number,
  ) {}

  async go(): Promise<void> {
    const { company, options, report, session } = this;
    step("s.start");
    options.signal?.throwIfAborted();
    if (options.signal !== undefined) setMaxListeners(0, options.signal);
    const onAbort = () => session.destroy();
    options.signal?.addEventListener("abort", onAbort, { once: true });
    try {
      // Grains lie in the order of their ids, more or less: read by the index they come at once, and are worked on while they come.
      await session.run("SET enable_sort = off");
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
    } finally {
      options.signal?.removeEventListener("abort", onAbort);
      await session.run("RESET enable_sort; RESET default_transaction_read_only").catch(() => {});
    }
  }

  /** Tries, and tries again what is left as long as that may help. @returns what ended it early, if anything did. */
  async #tryUntilDone(): Promise<SandpiperError | undefined> {
    const { options, report } = this;
    this.#retryUntilMs = performance.now() + options.retryForSeconds * 1000;
    for (let attempt = 0; ; attempt++) {
      const finished = report.results.length;
      const error = await this.#try();
      if (error === undefined) return undefined;
      if (report.results.length > finished) attempt = 0;
      const leftMs = this.#retryUntilMs - performance.now();
      const next = nextTry({ error, attempt, random: Math.random(), leftMs, held: this.#held !== undefined });
      // A slice that ended its session has said so already.
      if (next instanceof SandpiperError) {
        const told = this.#remaining?.length === 0 && report.results.some((result) => result.error === error);
        return told ? undefined : next;
      }
      const wait = () => sleep(next, undefined, { signal: options.signal });
      await (options.onWait?.(error, next, wait) ?? wait());
    }
  }

  /** Does what is left to do. @returns why some of it is still left. */
  async #try(): Promise<SandpiperError | undefined> {
    const { options } = this;
    try {
      let credentials = await this.#login();
      this.#remaining ??= await this.#takeSubscriptions(credentials);
      let renewed = false;
      // A session that one slice ended goes on with the others in a new one, as long as each gets further.
      while (this.#remaining.length > 0) {
        const before = this.#remaining.length;
        const error = await this.#oneSession(credentials, this.#remaining);
        const done = new Set(this.report.results.map((result) => result.slice.id));
        this.#remaining = this.#remaining.filter((slice) => !done.has(slice.id));
        if (error === undefined) return this.#held;
        const progress = this.#remaining.length < before;
        // A token that has run out is renewed, once until there is progress: what is refused again stays refused.
        const renew: boolean = error.code === "auth" && (progress || !renewed);
        const again = renew || (progress && error.code !== "auth" && error.code !== "forbidden" && !error.retryable);
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
    const { app, company, options, report, session } = this;
    const etag = await readSubsEtag(session, company.id);
    const most = app.config.limits.max_subscriptions;
    const offers = await fetchOffers(targetOf(company), credentials, etag, most, report.traffic, options.signal);
    const updated = await updateSubscriptions(session, company, offers, options);
    step("s.subs");
    report.notices.push(...updated.notices);
    this.#lost = updated.lost;
    return updated.slices;
  }

  /** Notes how a slice fared. @returns whether that is final: it is not when the slice is tried again. */
  #finished(result: SliceResult): boolean {
    if (result.error?.retryable && performance.now() < this.#retryUntilMs) {
      this.#held = result.error;
      return false;
    }
    this.report.results.push(result);
    this.options.onResult?.(result);
    return true;
  }

  async #login(): Promise<Login> {
    const { app, company, options, report } = this;
    const sealed = await readSealedKey(app.db, company.id);
    if (sealed === undefined || company.syncAddr === null) {
      throw new SandpiperError("auth", `no API key or address is stored for ${company.name}`, {
        hint: `Store them with \`sandpiper company rekey ${JSON.stringify(company.name)} --api-key-file FILE --sync-addr URL\`.`,
      });
    }
    const apiKey = openApiKey(sealed, company.id, requireSecret(app.config, "partner_key"));
    const answer = await login(targetOf(company), apiKey, report.traffic, options.signal);
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
      const channel = await connectChannel(
        targetOf(company),
        credentials.token,
        app.config.sync.idle_seconds * 1000,
        report.traffic,
        options.signal,
      );
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
          dataDirectory: app.config.database.url === undefined ? app.config.data : undefined,
          channel,
          companyId: company.id,
          runId: options.runId,
          test: options.test,
          watcher,
          startedMs: this.startedMs,
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
