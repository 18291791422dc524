/** A PostgreSQL server for one database, with durability, that a test stops without a word and starts again. */
import { join } from "node:path";
import { startServer } from "../../src/database/postgres/cluster.ts";
import { layoutOf, port } from "../../src/database/postgres/data-dir.ts";
import { createCluster } from "../../src/database/postgres/embedded.ts";
import { endGuard, socketUrl, startGuard } from "./cluster.ts";
import { endPostmaster } from "./postmaster.ts";
import { makeScratch } from "./scratch.ts";
import type { TestDatabase } from "./test-database.ts";

export interface OwnServer {
  /** Empty; it goes with its server. */
  database: TestDatabase;
  /** The data directory of its embedded PostgreSQL. */
  dataDir: string;
  /** As `pg_ctl stop -m immediate`: no checkpoint, nobody is told. */
  stopNow(): Promise<void>;
  start(): Promise<void>;
}

/** Creates and starts it: some seconds. It goes at the end of `test`, or when this process does. */
export async function startOwnServer(test: { teardown(work: () => Promise<void>): unknown }): Promise<OwnServer> {
  const scratch = await makeScratch();
  const guard = startGuard(scratch);
  test.teardown(() => endGuard(guard));
  const dataDir = join(scratch, "pg");
  await createCluster(dataDir);
  const layout = layoutOf(dataDir);
  const start = async () => {
    while ((await startServer(layout, {}, 30)) === "again");
  };
  await start();
  const name = "sandpiper";
  return {
    database: { name, url: socketUrl(name, layout.socketDir, port), drop: async () => {} },
    dataDir,
    stopNow: () => endPostmaster(dataDir),
    start,
  };
}
