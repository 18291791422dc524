/** A fresh database, opened as the program opens it, for tests of what works on one. */

import type { Server, ServerRole } from "../../src/companies/company.ts";
import { initServer } from "../../src/companies/company-store.ts";
import { parseConfig } from "../../src/config/config.ts";
import { type Database, openDatabase } from "../../src/database/database.ts";
import type { Slice } from "../../src/slices/rules/slice.ts";
import { addSlice } from "../../src/slices/slice-store.ts";
import { createTestDatabase } from "./test-database.ts";

export interface Opened {
  /** As the role that owns nothing. */
  db: Database;
  server: Server;
  /** For `database.url` of another process. */
  url: string;
  /** Adds an empty slice of our own. */
  slice(name: string, type?: string): Promise<Slice>;
}

/** A database that was set up with `init`; closed and dropped at the end of `test`. */
export async function openTestDatabase(
  test: { teardown(work: () => Promise<void>): unknown },
  role: ServerRole = "primary",
): Promise<Opened> {
  const created = await createTestDatabase(role);
  const config = parseConfig({ flags: [], environment: { SANDPIPER_DATABASE_URL: created.url }, file: "test.yaml" });
  const owner = await openDatabase(config, { as: "owner" });
  const server = await initServer(owner, role, role === "primary" ? "ABC Brakes" : "Epicor").finally(() =>
    owner.close(),
  );
  const db = await openDatabase(config, { name: "sandpiper test" });
  test.teardown(async () => {
    await db.close();
    await created.drop();
  });
  const slice = (name: string, type = "aces-file") => addSlice(db, { companyId: server.serverId, name, type });
  return { db, server, url: created.url, slice };
}
