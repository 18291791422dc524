/** Cleaning up in the database: what is old is forgotten, as the program; what was deleted gives its space back, as the tables' owner. */
import { type Forgotten, forgetOld } from "../activity/retention-store.ts";
import type { App } from "../app.ts";
import { type Database, openDatabase } from "../database/database.ts";
import { type Tidied, tidyEverything, tidyWhatChanged } from "../database/tidy.ts";

/**
 * All of it, however long it takes.
 *
 * @param options.full writes every table anew, and keeps everybody else out meanwhile.
 * @returns also the tables that this login may not vacuum.
 */
export async function maintain(
  app: App,
  options: { full: boolean; signal: AbortSignal },
): Promise<{ forgotten: Forgotten; tidied: Tidied[]; left: string[] }> {
  const { signal } = options;
  const forgotten = await forgetOld(app.db, app.config.retention.days, { limitMs: Number.POSITIVE_INFINITY, signal });
  signal.throwIfAborted();
  return { forgotten, ...(await asOwner(app, "sandpiper maintain", (owner) => tidyEverything(owner, options))) };
}

/** What a server does once a day: what has changed much is tidied, and each of both parts begins nothing more after `limitMs`. */
export async function upkeep(
  app: App,
  options: { limitMs: number; signal: AbortSignal },
): Promise<{ forgotten: Forgotten; tidied: Tidied[] }> {
  const forgotten = await forgetOld(app.db, app.config.retention.days, options);
  return { forgotten, tidied: await asOwner(app, "sandpiper upkeep", (owner) => tidyWhatChanged(owner, options)) };
}

async function asOwner<T>({ config }: App, name: string, work: (owner: Database) => Promise<T>): Promise<T> {
  const owner = await openDatabase(config, { as: "owner", name });
  return work(owner).finally(() => owner.close());
}
