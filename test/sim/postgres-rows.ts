/** The rows of table-rows.ts in a real database. */
import type { Database } from "../../src/database/database.ts";
import type { Rows, RowsName } from "./table-rows.ts";

type Kind = "uuid" | "text" | "bigint" | "integer" | "boolean" | "jsonb" | "hex" | "hex, computed" | "whether";

/** By list: the table, and by field its column and what is in it. */
const layout: Record<RowsName, [table: string, columns: Record<string, [column: string, kind: Kind]>]> = {
  companies: [
    "companies",
    { id: ["id", "uuid"], name: ["name", "text"], active: ["active", "boolean"], etag: ["subs_etag", "text"] },
  ],
  slices: [
    "slices",
    {
      key: ["slice_key", "bigint"],
      content: ["content_key", "bigint"],
      company: ["company_id", "uuid"],
      id: ["id", "uuid"],
      name: ["name", "text"],
      nameKey: ["name_key", "text"],
      type: ["slice_type", "text"],
      allowSync: ["allow_sync", "boolean"],
      hash: ["hash", "text"],
      sum: ["content_sum", "hex"],
      count: ["content_count", "bigint"],
      bytes: ["content_bytes", "bigint"],
      sketch: ["sketch", "hex"],
    },
  ],
  metadata: ["slice_metadata", { slice: ["slice_key", "bigint"], key: ["key", "text"], value: ["value", "text"] }],
  grains: [
    "grains",
    {
      content: ["content_key", "bigint"],
      id: ["id", "uuid"],
      key: ["grain_key", "text"],
      source: ["source", "text"],
      encoding: ["encoding", "text"],
      bytes: ["payload_bytes", "bigint"],
      payload: ["payload", "hex"],
      chunkDigests: ["chunk_digests", "hex"],
      digest: ["digest", "hex, computed"],
    },
  ],
  chunks: [
    "grain_chunks",
    {
      content: ["content_key", "bigint"],
      grain: ["grain_id", "uuid"],
      sequence: ["seq", "integer"],
      data: ["data", "hex"],
    },
  ],
  staging: ["staging", { slice: ["slice_key", "bigint"], hash: ["hash", "text"], content: ["content_key", "bigint"] }],
  subscriptions: [
    "subscriptions",
    {
      key: ["subscription_key", "bigint"],
      company: ["company_id", "uuid"],
      id: ["id", "uuid"],
      slice: ["slice_key", "bigint"],
      name: ["name", "text"],
      nameKey: ["name_key", "text"],
      description: ["description", "text"],
      active: ["active", "boolean"],
      offered: ["offered", "boolean"],
      withdrawn: ["withdrawn_at", "whether"],
    },
  ],
  holdings: [
    "holdings",
    {
      company: ["company_id", "uuid"],
      slice: ["slice_key", "bigint"],
      hash: ["hash", "text"],
      count: ["content_count", "bigint"],
    },
  ],
  activity: [
    "activity",
    {
      company: ["company_id", "uuid"],
      run: ["run_id", "uuid"],
      sliceId: ["slice_id", "uuid"],
      outcome: ["outcome", "text"],
    },
  ],
  outbox: [
    "outbox",
    {
      company: ["company_id", "uuid"],
      run: ["run_id", "uuid"],
      slice: ["slice_id", "uuid"],
      sequence: ["id", "bigint"],
      body: ["body", "jsonb"],
    },
  ],
  runs: ["sync_runs", { id: ["id", "uuid"], company: ["company_id", "uuid"], exit: ["exit_code", "integer"] }],
};

/** Columns that must have something in them, which the simulation does not know. */
const besides: Partial<Record<RowsName, [column: string, value: string]>> = {
  companies: ["name_key", "name"],
  holdings: ["confirmed_at", "now()"],
  runs: ["finished_at", 'CASE WHEN "exit" IS NOT NULL THEN now() END'],
};

const sequences: Record<string, string> = {
  slice: "slices_slice_key_seq",
  content: "content_keys",
  subscription: "subscriptions_subscription_key_seq",
  outbox: "outbox_id_seq",
};

const names = Object.keys(layout) as RowsName[];

const reading = (column: string, kind: Kind) => {
  if (kind.startsWith("hex")) return `encode(${column}, 'hex')`;
  return kind === "whether" ? `${column} IS NOT NULL` : column;
};

const readEverything = `SELECT ${names
  .map((name) => {
    const [table, columns] = layout[name];
    const fields = Object.entries(columns).map(([field, [column, kind]]) => `'${field}', ${reading(column, kind)}`);
    return `(SELECT coalesce(jsonb_agg(jsonb_build_object(${fields.join(", ")})), '[]') FROM ${table}) AS ${name}`;
  })
  .join(", ")}`;

const writing = (field: string, kind: Kind) => {
  if (kind === "hex") return `decode("${field}", 'hex')`;
  return kind === "whether" ? `CASE WHEN "${field}" THEN now() END` : `"${field}"`;
};

function insertion(name: RowsName): string {
  const [table, columns] = layout[name];
  const fields = Object.entries(columns).filter(([, [, kind]]) => kind !== "hex, computed");
  const types = fields.map(([field, [, kind]]) => {
    if (kind === "hex") return `"${field}" text`;
    return `"${field}" ${kind === "whether" ? "boolean" : kind}`;
  });
  const targets = fields.map(([, [column]]) => column);
  const values = fields.map(([field, [, kind]]) => writing(field, kind));
  const more = besides[name];
  if (more !== undefined) {
    targets.push(more[0]);
    values.push(more[1]);
  }
  return `INSERT INTO ${table} (${targets.join(", ")}) OVERRIDING SYSTEM VALUE SELECT ${values.join(", ")} FROM jsonb_to_recordset($1::jsonb) AS r (${types.join(", ")})`;
}

const insertions = new Map(names.map((name) => [name, insertion(name)]));

/** Deleting is quicker than emptying the files of tables, as long as they do not grow. */
const deleteEverything = [...names]
  .reverse()
  .map((name) => `DELETE FROM ${layout[name][0]}`)
  .join("; ");

/** Makes this all that there is. `owner` may do everything. */
export async function replaceRows(owner: Database, rows: Rows, last: Readonly<Record<string, number>>): Promise<void> {
  await owner.run(deleteEverything);
  for (const name of names)
    if (rows[name].length > 0) await owner.run(insertions.get(name)!, [JSON.stringify(rows[name])]);
  const settings = Object.entries(sequences).map(
    ([name, sequence]) => `setval('${sequence}', ${Math.max(1, last[name] ?? 0)}, ${(last[name] ?? 0) > 0})`,
  );
  await owner.run(`SELECT ${settings.join(", ")}`);
}

export async function readRows(owner: Database): Promise<Rows> {
  return (await owner.one<Rows>(readEverything))!;
}

/** Companies as somebody has written them. */
export async function writeCompanies(owner: Database, rows: Rows["companies"]): Promise<void> {
  const columns = ["name", "name_key", "active", "subs_etag"].map((name) => `${name} = excluded.${name}`);
  await owner.run(`${insertions.get("companies")} ON CONFLICT (id) DO UPDATE SET ${columns.join(", ")}`, [
    JSON.stringify(rows),
  ]);
}
