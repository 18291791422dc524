/**
 * What every session with the database relies on. A session sets all of it when it begins, so that nothing else decides:
 * no default of a server, no ALTER DATABASE or ALTER ROLE ... SET. Pure.
 *
 * Figures of memory, cost and parallelism (`work_mem`, `random_page_cost`, ...) are not here: they fit a machine, and make a
 * statement slower or faster, never wrong.
 */

const settings: Readonly<Record<string, string>> = {
  // Times. A COPY takes as long as the line to the other company does: what a peer may take is timed where it is spoken to.
  statement_timeout: "0",
  transaction_timeout: "0",
  idle_session_timeout: "0",
  lock_timeout: "10s",
  idle_in_transaction_session_timeout: "15min",
  // A server process notices that its client is gone, and lets go of its locks.
  client_connection_check_interval: "2s",

  // What names mean, and how values are written and read.
  search_path: "public",
  client_encoding: "UTF8",
  standard_conforming_strings: "on",
  backslash_quote: "safe_encoding",
  escape_string_warning: "on",
  array_nulls: "on",
  transform_null_equals: "off",
  quote_all_identifiers: "off",
  bytea_output: "hex",
  extra_float_digits: "1",
  datestyle: "ISO, MDY",
  intervalstyle: "postgres",
  timezone: "UTC",
  timezone_abbreviations: "Default",
  lc_monetary: "C",
  lc_numeric: "C",
  lc_time: "C",
  xmlbinary: "base64",
  xmloption: "content",

  // What a transaction is, who sees what, and what is on disk once it is over.
  default_transaction_isolation: "read committed",
  default_transaction_read_only: "off",
  default_transaction_deferrable: "off",
  synchronous_commit: "on",
  row_security: "on",
  restrict_nonsystem_relation_kind: "",
  exit_on_error: "off",
  client_min_messages: "warning",

  // How tables are made.
  check_function_bodies: "on",
  default_table_access_method: "heap",
  default_tablespace: "",
  temp_tablespaces: "",

  // The planner's ways. Rows are found by index, and come in its order: whether a table was ever analyzed, and what it held then, does not matter.
  plan_cache_mode: "auto",
  jit: "off",
  geqo: "off",
  from_collapse_limit: "8",
  join_collapse_limit: "8",
  constraint_exclusion: "partition",
  debug_parallel_query: "off",
  force_parallel_mode: "off",
  enable_async_append: "on",
  enable_bitmapscan: "off",
  enable_distinct_reordering: "on",
  enable_gathermerge: "on",
  enable_group_by_reordering: "on",
  enable_hashagg: "on",
  enable_hashjoin: "on",
  enable_incremental_sort: "on",
  enable_indexonlyscan: "on",
  enable_indexscan: "on",
  enable_material: "on",
  enable_memoize: "on",
  enable_mergejoin: "on",
  enable_nestloop: "on",
  enable_parallel_append: "on",
  enable_parallel_hash: "on",
  enable_partition_pruning: "on",
  enable_partitionwise_aggregate: "off",
  enable_partitionwise_join: "off",
  enable_presorted_aggregate: "on",
  enable_self_join_elimination: "on",
  enable_seqscan: "off",
  enable_sort: "on",
  enable_tidscan: "on",

  // Maintenance does not take its time, and gives the end of a file back to the disk.
  vacuum_cost_delay: "0",
  vacuum_truncate: "on",
};

/** The names of all of them. */
export const settingNames: readonly string[] = Object.keys(settings);

/** The statement that a session begins with. What an older server does not know of it (`transaction_timeout` before 17) is left out. */
export const sessionSettings = `SELECT set_config(name, value, false) FROM (VALUES ${Object.entries(settings)
  .map(([name, value]) => `('${name}', '${value}')`)
  .join(", ")}) AS wanted (name, value) WHERE current_setting(name, true) IS NOT NULL`;

/** Ends what a session had set differently for a while. Not RESET, which would go back to what the role or the database says. */
export const asEver = (...names: string[]): string =>
  names.map((name) => `SET ${name} = '${settings[name]}'`).join("; ");
