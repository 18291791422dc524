/** What a server that runs for months does for its database once a day: old log entries are forgotten, and what changed much is vacuumed. */
import { setTimeout as sleep } from "node:timers/promises";
import type { App } from "../app.ts";
import { upkeep } from "../operations/maintain.ts";
import type { Service } from "./service.ts";

/** The first time is soon: a server may be restarted every day. */
const daily = { firstMs: 5 * 60_000, everyMs: 86_400_000 };
const limitMs = 10 * 60_000;

/** The service of the daemon. */
export function createUpkeep({ app, stopping }: { app: App; stopping: AbortSignal }): Service {
  let ended: Promise<void> | undefined;
  return {
    start: () => {
      ended = keepUp(app, stopping);
    },
    // It ends by `stopping` alone: a vacuum is broken off, a batch of deletes is finished.
    stop: () => ended,
  };
}

/** Goes on until `signal` is aborted. Never throws: what fails is logged, and tried again the next day. */
export async function keepUp(app: App, signal: AbortSignal, { firstMs, everyMs } = daily): Promise<void> {
  for (let waitMs = firstMs; ; waitMs = everyMs) {
    await sleep(waitMs, undefined, { signal, ref: false }).catch(() => {});
    if (signal.aborted) return;
    try {
      const { forgotten, tidied } = await upkeep(app, { limitMs, signal });
      app.log.info({ event: "maintenance.done", forgotten, tables: tidied.map(({ table }) => table) });
    } catch (error) {
      if (!signal.aborted) app.log.warn({ event: "maintenance.failed", err: error });
    }
  }
}
