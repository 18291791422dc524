/** Serving until told to stop. */
import { setFlagsFromString } from "node:v8";
import { aborted } from "../aborted.ts";
import type { App } from "../app.ts";
import { requireRowSecurity } from "../database/row-security.ts";
import { startDaemon } from "./daemon.ts";

/** Serves until `signal` is aborted, then stops in order, without waiting for what runs once `hurry` is aborted. */
export async function serve(app: App, signal: AbortSignal, hurry?: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  // What a crowd leaves behind is collected when it is half as much as is in use; by itself the engine waits for four times as much.
  setFlagsFromString("--heap-growing-percent=50");
  await requireRowSecurity(app.db);
  signal.throwIfAborted();
  const daemon = await startDaemon(app);
  const { role, companyName } = app.server;
  app.log.info({ event: "server.listening", url: daemon.url, role, company: companyName });
  await aborted(signal);
  app.log.info({ event: "server.stopping" });
  const grace = AbortSignal.timeout(app.config.server.shutdown_seconds * 1000);
  await daemon.stop(hurry === undefined ? grace : AbortSignal.any([grace, hurry]));
  app.log.info({ event: "server.stopped" });
}
