/** What a command or a server works with: configuration, database, log; opened together, closed in reverse order. */

import type { Server } from "./companies/company.ts";
import { readServer } from "./companies/company-store.ts";
import { type Config, loadConfig } from "./config/config.ts";
import { type Database, openDatabase } from "./database/database.ts";
import { requireCurrentSchema } from "./database/migrate.ts";
import { tidyWhatChanged } from "./database/tidy.ts";
import { createLogger, type Logger } from "./log.ts";

export interface App {
  config: Config;
  db: Database;
  log: Logger;
  /** Who we are. */
  server: Server;
}

/** How long cleaning up before the embedded database is stopped may take: this, or as long as the work that made it necessary. */
const tidyMs = 60_000;

/**
 * Opens the database that the configuration names, checks that its schema is this program's, and runs `work`.
 *
 * @param name what PostgreSQL shows as the application's name.
 * @param signal once it is aborted, the database is closed without being vacuumed first.
 * @throws `config`, `schema` or `storage` before `work` is started.
 */
export async function withApp<T>(
  source: { flags: string[]; file: string },
  name: string,
  signal: AbortSignal,
  work: (app: App) => Promise<T>,
): Promise<T> {
  const config = loadConfig(source.flags, source.file);
  const log = createLogger(config.log.level);
  const begunMs = performance.now();
  const beforeStop = async (owner: Database) => {
    const limitMs = Math.max(tidyMs, performance.now() - begunMs);
    const tidied = await tidyWhatChanged(owner, { limitMs, signal });
    log.debug({ event: "database.tidied", tidied });
  };
  const db = await openDatabase(config, { name, log, beforeStop });
  try {
    await requireCurrentSchema(db);
    return await work({ config, db, log, server: await readServer(db) });
  } finally {
    await db.close();
  }
}
