/** Serving: the HTTP server with the websocket upgrade, until told to stop. */
import { setFlagsFromString } from "node:v8";
import type { App } from "../app.ts";
import { requireRowSecurity } from "../database/row-security.ts";
import { startServer } from "../server/http/http-server.ts";
import { OrderedRuns } from "../server/rest/sync-run.ts";
import { aborted, createContext } from "../server/server-context.ts";
import { createUpgrade } from "../server/upgrade.ts";
import { keepUp } from "./upkeep.ts";

/** Serves until `signal` is aborted, then stops in order, without waiting for what runs once `hurry` is aborted. */
export async function serve(app: App, signal: AbortSignal, hurry?: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  // What a crowd leaves behind is collected when it is half as much as is in use; by itself the engine waits for four times as much.
  setFlagsFromString("--heap-growing-percent=50");
  await requireRowSecurity(app.db);
  const stopping = new AbortController();
  const runs = new OrderedRuns();
  const upgrade = createUpgrade(createContext(app, stopping.signal));
  const server = await startServer(app, { onUpgrade: upgrade.handle, extraRoutes: runs.routes });
  app.log.info({ event: "server.listening", url: server.url, role: app.server.role, company: app.server.companyName });
  const upkeep = keepUp(app, stopping.signal);
  await aborted(signal);
  app.log.info({ event: "server.stopping" });
  stopping.abort();
  const grace = new AbortController();
  const timer = setTimeout(() => grace.abort(), app.config.server.shutdown_seconds * 1000);
  hurry?.addEventListener("abort", () => grace.abort(), { once: true });
  await Promise.all([upgrade.stop(grace.signal), runs.stop(grace.signal), server.stop(grace.signal), upkeep]);
  clearTimeout(timer);
  app.log.info({ event: "server.stopped" });
}
