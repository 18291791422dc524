/** One session with the primary over a connection of its own, in which the slices that are left are synced. */
import { asSandpiperError, type SandpiperError } from "../../errors.ts";
import { programName } from "../../version.ts";
import { drive } from "../protocol/effects.ts";
import type { LocalSlice, SecondaryFacts, SliceResult } from "../protocol/secondary-port.ts";
import { secondarySession } from "../protocol/secondary-session.ts";
import type { Room } from "../secondary/room.ts";
import { SecondaryAdapter } from "../secondary/secondary-adapter.ts";
import type { Login } from "../transport/primary-client.ts";
import { abortReason, type PartnerContext } from "./partner-context.ts";

/**
 * @param isFinal is told how each slice fared, and says whether that is final; if not, the slice is tried again.
 * @returns the error that ended the session, if one did; not when all that was lost is an acknowledgement.
 * @throws only when the run is interrupted.
 */
export async function oneSession(
  context: PartnerContext,
  room: Room,
  login: Login,
  slices: readonly LocalSlice[],
  isFinal: (result: SliceResult) => boolean,
): Promise<SandpiperError | undefined> {
  const { app, company, order, outside, report, session } = context;
  const { runId, options, signal } = order;
  const facts: SecondaryFacts = {
    runId,
    options,
    primaryId: company.id,
    slices,
    maxGrains: app.config.limits.max_grains,
    maxGrainBytes: app.config.limits.max_grain_bytes,
    program: programName,
    unconfirmed: 0,
  };
  const finished = new Set<string>();
  let adapter: SecondaryAdapter | undefined;
  let closing: Promise<void> | undefined;
  try {
    signal?.throwIfAborted();
    const channel = await outside.connect(login);
    const close = () => {
      closing ??= channel.close(1000);
    };
    signal?.addEventListener("abort", close, { once: true });
    try {
      adapter = new SecondaryAdapter({
        db: app.db,
        session,
        room,
        channel,
        companyId: company.id,
        runId,
        rehearsal: options.rehearsal,
        emit: context.emit,
        isFinal: (result) => {
          const final = isFinal(result);
          if (final) finished.add(result.slice.id);
          return final;
        },
        elapsedMs: () => outside.nowMs() - context.startedMs,
      });
      await drive(secondarySession(facts), adapter);
    } finally {
      signal?.removeEventListener("abort", close);
      close();
      await closing;
    }
    return undefined;
  } catch (thrown) {
    if (signal?.aborted) throw abortReason(signal);
    const error = asSandpiperError(thrown);
    const onlyUnconfirmed = finished.size === slices.length && facts.unconfirmed > 0;
    if (!onlyUnconfirmed || (error.code !== "network" && error.code !== "timeout")) return error;
    report.warnings.push(
      `the primary was gone before it confirmed; ${facts.unconfirmed === 1 ? "a confirmation" : `${facts.unconfirmed} confirmations`} will be sent by the next run`,
    );
    return undefined;
  } finally {
    await adapter?.dispose();
  }
}
