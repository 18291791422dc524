/** The canary: a server looks at its tables as a stranger would, and does not start if it sees anything. */
import { randomUUID } from "node:crypto";
import { SandpiperError } from "../errors.ts";
import type { CompanyId } from "../ids.ts";
import type { Database } from "./database.ts";

/** Tables whose rows belong to somebody. */
const guarded = [
  "companies",
  "api_keys",
  "users",
  "slices",
  "slice_metadata",
  "grains",
  "grain_chunks",
  "subscriptions",
  "holdings",
  "activity",
  "outbox",
  "sync_runs",
  "slice_directories",
] as const;

/**
 * Looks at every table as a partner that does not exist, and at the role that the program works as.
 *
 * @throws `config` when row-level security does not hold.
 */
export async function requireRowSecurity(db: Database): Promise<void> {
  const stranger = db.as({ company: randomUUID() as CompanyId });
  const role = await stranger.one<{ name: string; free: boolean; owns: boolean }>(
    `SELECT current_user AS name, r.rolsuper OR r.rolbypassrls AS free,
       EXISTS (SELECT 1 FROM pg_class c WHERE c.relowner = r.oid AND c.relname = ANY ($1)) AS owns
     FROM pg_roles r WHERE r.rolname = current_user`,
    [guarded],
  );
  if (role!.free || role!.owns) throw unguarded(`the role ${role!.name} is not bound by row-level security`);
  await stranger.transaction(async (tx) => {
    // Here every row is looked at, and they are taken as they lie.
    await tx.run("SET LOCAL enable_seqscan = on");
    for (const table of guarded) {
      const state = await tx.one<{ on: boolean }>(
        "SELECT relrowsecurity AS on FROM pg_class WHERE oid = to_regclass($1)",
        [table],
      );
      const seen = await tx.one(`SELECT 1 FROM ${table} LIMIT 1`);
      if (state?.on !== true || seen !== undefined) throw unguarded(`a stranger would see rows of the table ${table}`);
    }
  });
}

const unguarded = (what: string) =>
  new SandpiperError("config", `row-level security does not hold: ${what}`, {
    hint: "Run `sandpiper migrate` with the owner's login; let the program work as sandpiper_app, without SUPERUSER and BYPASSRLS.",
  });
