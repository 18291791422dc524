/** The assembly of `serve`: one context, and the services that work in it. A new service is one line of the list. */
import type { App } from "../app.ts";
import { argon2 } from "../companies/user-store.ts";
import { createContext, type ServerContext } from "../server/context.ts";
import { createHttpServer } from "../server/http/http-server.ts";
import { createApplication } from "../server/rest/application.ts";
import { OrderedRuns } from "../server/rest/sync-run.ts";
import { createSyncs } from "../server/upgrade.ts";
import type { Service } from "./service.ts";
import { createUpkeep } from "./upkeep.ts";

/** In the order in which they are started, after the listener, which outlives them: it says "stopping" until the last has stopped. */
const services = [createSyncs, () => new OrderedRuns(), createUpkeep];

export interface Daemon {
  readonly context: ServerContext;
  /** All of them, those of the caller included. */
  readonly services: readonly Service[];
  /** Such as http://127.0.0.1:8080. */
  readonly url: string;
  readonly port: number;
  /** Takes no new work, lets what runs finish until `over` is aborted (after `server.shutdown_seconds`), then ends it. Twice is harmless. */
  stop(over?: AbortSignal): Promise<void>;
}

/**
 * Starts to listen, and then the services.
 *
 * @param more services of the caller, after all others; the last that takes upgrades gets them.
 * @throws `usage` when the port cannot be had, `config` when a secret is missing.
 */
export async function startDaemon(app: App, more: readonly Service[] = []): Promise<Daemon> {
  const stopping = new AbortController();
  const context = createContext(app, stopping.signal);
  const all: Service[] = [...services.map((create) => create(context)), ...more];
  const taker = all.findLast(({ upgrade }) => upgrade !== undefined);
  const http = createHttpServer(context, {
    request: createApplication(
      context,
      all.flatMap(({ routes }) => routes ?? []),
    ),
    upgrade: taker && ((request, socket, head) => taker.upgrade!(request, socket, head)),
  });

  const stop = async (over: AbortSignal) => {
    stopping.abort();
    for (const service of all.toReversed()) await service.stop?.(over);
    await http.stop(over);
  };
  try {
    await argon2();
    const address = await http.start();
    for (const service of all) await service.start?.();
    let stopped: Promise<void> | undefined;
    return {
      context,
      services: all,
      ...address,
      stop: (over = AbortSignal.timeout(app.config.server.shutdown_seconds * 1000)) => {
        stopped ??= stop(over);
        return stopped;
      },
    };
  } catch (error) {
    await stop(AbortSignal.abort());
    throw error;
  }
}
