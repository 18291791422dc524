/** What a command or a server works with: configuration, database, log; opened together, closed in reverse order. */
import { type Config, loadConfig } from "./config.ts";
import { type Database, openDatabase } from "./database.ts";
import { createLogger, type Logger } from "./log.ts";
import { requireCurrentSchema } from "./migrate.ts";
import type { Server } from "./subscriptions/company.ts";
import { readServer } from "./subscriptions/company-store.ts";

export interface App {
  config: Config;
  db: Database;
  log: Logger;
  /** Who we are. */
  server: Server;
}

/**
 * Opens the database that the configuration names, checks that its schema is this program's, and runs `work`.
 *
 * @param name what PostgreSQL shows as the application's name.
 * @throws `config`, `schema` or `storage` before `work` is started.
 */
export async function withApp<T>(
  source: { flags: string[]; file: string },
  name: string,
  work: (app: App) => Promise<T>,
): Promise<T> {
  const config = loadConfig(source.flags, source.file);
  const log = createLogger(config.log.level);
  const db = await openDatabase(config, { name, log });
  try {
    await requireCurrentSchema(db);
    return await work({ config, db, log, server: await readServer(db) });
  } finally {
    await db.close();
  }
}
