/** Serving: the HTTP server with the websocket upgrade, until told to stop. */
import type { App } from "../app.ts";
import { startServer } from "./http-server.ts";
import { createContext } from "./server-context.ts";
import { syncRunRoutes } from "./sync-run.ts";
import { createUpgrade } from "./upgrade.ts";

/** Serves until `signal` is aborted, then stops in order. */
export async function serve(app: App, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  const stopping = new AbortController();
  const upgrade = createUpgrade(createContext(app, stopping.signal));
  const server = await startServer(app, { onUpgrade: upgrade.handle, extraRoutes: syncRunRoutes });
  app.log.info({ event: "server.listening", url: server.url, role: app.server.role, company: app.server.companyName });
  await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
  app.log.info({ event: "server.stopping" });
  stopping.abort();
  await Promise.all([upgrade.stop(app.config.server.shutdown_seconds * 1000), server.stop()]);
  app.log.info({ event: "server.stopped" });
}
