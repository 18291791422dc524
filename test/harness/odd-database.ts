/** A database, a role and an environment in which everything is set differently from what the program relies on. */
import { asOwner } from "../bench/world.ts";
import { createTestDatabase, type TestDatabase } from "./test-database.ts";

/** What PostgreSQL's own programs, `pg` and the C library read. */
export const oddEnvironment: Record<string, string> = {
  PGHOST: "nowhere.invalid",
  PGHOSTADDR: "192.0.2.1",
  PGPORT: "1",
  PGUSER: "somebody",
  PGPASSWORD: "wrong",
  PGDATABASE: "nowhere",
  PGOPTIONS: "-c no_such_parameter=1",
  PGSSLMODE: "require",
  PGSSLNEGOTIATION: "direct",
  PGREPLICATION: "database",
  PGCLIENT_ENCODING: "latin1",
  PGCLIENTENCODING: "LATIN1",
  PGBINARY: "1",
  PGAPPNAME: "other",
  PGTZ: "Pacific/Chatham",
  PGDATESTYLE: "German",
  PGSERVICE: "nowhere",
  PGPASSFILE: "/dev/full",
  PGCONNECT_TIMEOUT: "1",
  PGDATA: "/nowhere",
  LC_ALL: "tr_TR.UTF-8",
  LANG: "de_DE.ISO-8859-1",
  TZ: "Pacific/Chatham",
};

/** Switches and enumerations take another value; these take one of their own. */
const chosen: Record<string, string> = {
  statement_timeout: "1s",
  transaction_timeout: "1s",
  idle_session_timeout: "1s",
  idle_in_transaction_session_timeout: "1s",
  lock_timeout: "1ms",
  client_connection_check_interval: "0",
  search_path: "nowhere",
  client_encoding: "LATIN1",
  DateStyle: "German, DMY",
  TimeZone: "Pacific/Chatham",
  timezone_abbreviations: "Australia",
  extra_float_digits: "-15",
  restrict_nonsystem_relation_kind: "view, foreign-table",
  default_table_access_method: "nothing",
  default_tablespace: "nowhere",
  temp_tablespaces: "nowhere",
  from_collapse_limit: "1",
  join_collapse_limit: "1",
  geqo_threshold: "2",
  work_mem: "64kB",
  maintenance_work_mem: "1MB",
  vacuum_cost_delay: "100ms",
  // As everybody has them: what cannot be set for good, and what only fills the log of the server.
  transaction_isolation: "",
  transaction_read_only: "",
  transaction_deferrable: "",
};

/** ALTER ... SET statements for `whom` ("DATABASE x", "ROLE x") that set everything that a session may set differently. */
export async function setDifferently(url: string, whom: string): Promise<number> {
  return asOwner(url, async (owner) => {
    const all = await owner.query<{ name: string; type: string; value: string; values: string[] | null }>(
      `SELECT name, vartype AS type, boot_val AS value, enumvals AS values FROM pg_settings
       WHERE context = 'user' AND name !~ '^(debug_print|debug_pretty|trace_)'`,
    );
    let set = 0;
    for (const { name, type, value, values } of all) {
      const other =
        chosen[name] ??
        (type === "bool" ? (value === "on" ? "off" : "on") : values?.find((one) => one !== value && one !== "auto"));
      if (other === undefined || other === "") continue;
      await owner.run(
        `ALTER ${whom} SET ${name} = ${other
          .split(", ")
          .map((word) => `'${word}'`)
          .join(", ")}`,
      );
      set++;
    }
    return set;
  });
}

/** An empty database whose owner logs in without being a superuser; both are set differently. They go with the test run. */
export async function oddDatabase(
  name: string,
  test: { teardown(work: () => Promise<void>): unknown },
): Promise<TestDatabase> {
  const beside = await createTestDatabase(name);
  const own = `${beside.name}_odd`;
  const login = `sandpiper_test_${beside.name.slice(-12)}`;
  await asOwner(beside.url, async (owner) => {
    await owner.run(`CREATE ROLE ${login} LOGIN IN ROLE sandpiper_app`);
    await owner.run(`CREATE DATABASE ${own} OWNER ${login} TEMPLATE template0`);
  });
  test.teardown(() =>
    asOwner(beside.url, async (owner) => {
      await owner.run(`DROP DATABASE ${own} WITH (FORCE)`);
      await owner.run(`DROP ROLE ${login}`);
    }),
  );
  await setDifferently(beside.url, `DATABASE ${own}`);
  await setDifferently(beside.url, `ROLE ${login}`);
  const url = new URL(beside.url);
  url.username = login;
  url.pathname = `/${own}`;
  return { name: own, url: url.toString(), drop: async () => {} };
}
