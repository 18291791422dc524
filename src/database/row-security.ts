/** The canary: a server looks at its tables as a stranger would, and does not start if it sees anything. */
import { randomUUID } from "node:crypto";
import { SandpiperError } from "../errors.ts";
import type { CompanyId } from "../ids.ts";
import type { Database } from "./database.ts";

/** Tables whose rows are nobody's: who we are, which migrations ran, and the keys under which data is staged (the data itself is guarded as grains). */
const exempt = ["schema_migrations", "server", "staging"];

/**
 * Looks at every table of the database as a partner that does not exist, and at the role that the program works as. A table that a
 * later migration makes is looked at as well, without being named here.
 *
 * @throws `config` when row-level security does not hold.
 */
export async function requireRowSecurity(db: Database): Promise<void> {
  const stranger = db.as({ company: randomUUID() as CompanyId });
  const role = await stranger.one<{ name: string; free: boolean }>(
    "SELECT current_user AS name, r.rolsuper OR r.rolbypassrls AS free FROM pg_roles r WHERE r.rolname = current_user",
  );
  if (role!.free) throw notBound(role!.name);
  const tables = await stranger.query<{ name: string; guarded: boolean; owned: boolean }>(
    `SELECT quote_ident(c.relname) AS name, c.relrowsecurity AS guarded, pg_get_userbyid(c.relowner) = current_user AS owned
     FROM pg_class c
     WHERE c.relkind IN ('r', 'p') AND c.relname <> ALL ($1) AND has_table_privilege(c.oid, 'SELECT')
       AND c.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = 'companies'::regclass)
     ORDER BY name`,
    [exempt],
  );
  if (tables.some(({ owned }) => owned)) throw notBound(role!.name);
  await stranger.transaction(async (tx) => {
    // Here every row is looked at, and they are taken as they lie.
    await tx.run("SET LOCAL enable_seqscan = on");
    for (const { name, guarded } of tables) {
      const hidden = guarded && (await tx.one(`SELECT 1 FROM ${name} LIMIT 1`)) === undefined;
      if (!hidden) throw unguarded(`a stranger would see rows of the table ${name}`);
    }
  });
}

const notBound = (role: string) => unguarded(`the role ${role} is not bound by row-level security`);

const unguarded = (what: string) =>
  new SandpiperError("config", `row-level security does not hold: ${what}`, {
    hint: "Run `sandpiper migrate` with the owner's login; let the program work as sandpiper_app, without SUPERUSER and BYPASSRLS.",
  });
