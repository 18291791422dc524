/** What load balancers and watchdogs ask, and who wonders what answers here. */
import type { Router } from "express";
import type { Database } from "../../database/database.ts";
import { requireCurrentSchema } from "../../database/migrate.ts";
import { prepared } from "../../database/prepared.ts";
import { SandpiperError } from "../../errors.ts";
import { version } from "../../version.ts";
import type { ServerContext } from "../context.ts";
import { stopping } from "../http/problem.ts";
import { ok, publicEndpoint, resource } from "./endpoint.ts";

const readyMs = 2000;
/** For so long an answer of the database is one for all who ask: asking is free for everybody. */
const freshMs = 1000;

export function healthRoutes(router: Router, context: ServerContext): void {
  const about = ok({ name: "sandpiper", version });
  resource(router, context, "/", { get: publicEndpoint({ handle: async () => about }) });

  // The process is alive, whatever its database does: restarting it would not help that.
  resource(router, context, "/healthz", { get: publicEndpoint({ handle: async () => ok({ status: "ok" }) }) });

  const { db } = context.app;
  let asked: Promise<void> | undefined;
  const ready = (): Promise<void> => {
    if (asked === undefined) {
      asked = within(readyMs, requireReady(db));
      const forget = () => {
        asked = undefined;
      };
      asked.then(() => setTimeout(forget, freshMs).unref(), forget);
    }
    return asked;
  };
  resource(router, context, "/readyz", {
    get: publicEndpoint({
      handle: async () => {
        if (context.stopping.aborted) throw stopping();
        await ready().catch((cause) => {
          throw new SandpiperError("storage", "the database is not ready", { cause });
        });
        return ok({ status: "ok" });
      },
    }),
  });
}

/** @throws unless the database is as this program needs it, and takes what is written: a standby does not, and one that was set to be read only is not meant to. */
async function requireReady(db: Database): Promise<void> {
  await requireCurrentSchema(db);
  // Our sessions set for themselves what they rely on (session-settings.ts): what the database's administrator wants is the value to go back to.
  const state = await db.one<{ only: boolean }>(
    prepared(`SELECT current_setting('transaction_read_only') = 'on' OR reset_val = 'on' AS only
      FROM pg_settings WHERE name = 'default_transaction_read_only'`),
  );
  if (state!.only) throw new SandpiperError("storage", "the database is read only");
}

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
