/** The sync of the command without its process: most of what a process costs is to start it. */
import type { App } from "../../src/app.ts";
import { readServer } from "../../src/companies/company-store.ts";
import { openDatabase } from "../../src/database/database.ts";
import { asSandpiperError } from "../../src/errors.ts";
import { createLogger } from "../../src/log.ts";
import { plainRun } from "../../src/sync/protocol/run-options.ts";
import { runSync } from "../../src/sync/run/run.ts";
import type { Party } from "./parties.ts";

/** What `sync` takes, in seconds. */
interface Waits {
  waitSeconds?: number;
  idleSeconds?: number;
}

/** A party as the program sees it, on connections of its own. @param databaseUrl another way to its database. */
export async function openApp(party: Party, databaseUrl: string, { idleSeconds = 20 }: Waits = {}): Promise<App> {
  const config = party.config({
    SANDPIPER_DATABASE_URL: databaseUrl,
    SANDPIPER_SYNC_IDLE_SECONDS: String(idleSeconds),
  });
  const db = await openDatabase(config, { name: "sandpiper in the test" });
  return { config, db, log: createLogger("silent"), server: await readServer(db) };
}

/** One run with all primaries, without another try. @returns its exit code. */
export async function syncOnce(app: App, { waitSeconds = 0 }: Waits = {}): Promise<number> {
  return (await runSync(app, { jobs: 1, splaySeconds: 0, options: { ...plainRun, waitSeconds } })).exitCode;
}

/** The same on connections that are made for it and closed again. */
export async function syncThrough(party: Party, databaseUrl: string, waits: Waits = {}): Promise<number> {
  try {
    const app = await openApp(party, databaseUrl, waits);
    return await syncOnce(app, waits).finally(() => app.db.close());
  } catch (error) {
    return asSandpiperError(error).exitCode;
  }
}
