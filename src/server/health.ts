/** What load balancers and watchdogs ask, and who wonders what answers here. */
import type { Router } from "express";
import { SandpiperError } from "../errors.ts";
import { requireCurrentSchema } from "../migrate.ts";
import { version } from "../version.ts";
import { ok, publicEndpoint, resource } from "./endpoint.ts";
import type { ServerContext } from "./server-context.ts";

const readyMs = 2000;

export function healthRoutes(router: Router, context: ServerContext): void {
  const about = ok({ name: "sandpiper", version });
  resource(router, context, "/", { get: publicEndpoint({ handle: async () => about }) });

  // The process is alive, whatever its database does: restarting it would not help that.
  resource(router, context, "/healthz", { get: publicEndpoint({ handle: async () => ok({ status: "ok" }) }) });

  resource(router, context, "/readyz", {
    get: publicEndpoint({
      handle: async ({ db }) => {
        if (context.stopping.aborted) throw stopping();
        await within(readyMs, requireCurrentSchema(db)).catch((cause) => {
          throw new SandpiperError("storage", "the database is not ready", { cause });
        });
        return ok({ status: "ok" });
      },
    }),
  });
}

export const stopping = () =>
  new SandpiperError("unavailable", "the server is stopping", { hint: "Try again in a moment." });

async function within<T>(ms: number, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new SandpiperError("storage", `the database did not answer in ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
