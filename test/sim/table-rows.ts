/** All rows of a simulated database as plain lists, so that they can be put into a real one, and compared with what is there. */
import type { Tables } from "./tables.ts";

type Row = Record<string, unknown>;
export type RowsName =
  | "companies"
  | "slices"
  | "metadata"
  | "grains"
  | "chunks"
  | "staging"
  | "subscriptions"
  | "holdings"
  | "activity"
  | "outbox"
  | "runs";
export type Rows = Record<RowsName, Row[]>;

const hex = (bytes: Buffer | null) => bytes?.toString("hex") ?? null;

/** The parts of a key that was put together with blanks. */
const named = (key: string, ...names: string[]): Row => {
  const parts = key.split(" ");
  return Object.fromEntries(names.map((name, i) => [name, parts[i] === "null" ? null : parts[i]]));
};

export const companyRows = (tables: Tables): Row[] =>
  [...tables.companies.values()].map(({ id, name, active, etag }) => ({ id, name, active, etag }));

export function rowsOf(tables: Tables): Rows {
  return {
    companies: companyRows(tables),
    slices: [...tables.slices.values()].map(({ sum, sketch, ...row }) => ({
      ...row,
      sum: hex(sum),
      sketch: hex(sketch),
    })),
    metadata: [...tables.metadata].flatMap(([slice, pairs]) => pairs.map(([key, value]) => ({ slice, key, value }))),
    grains: [...tables.grains].flatMap(([content, grains]) =>
      [...grains.values()].map(({ id, key, source, encoding, bytes, payload, chunkDigests, digest }) => ({
        content,
        id,
        key,
        source,
        encoding,
        bytes,
        payload: hex(payload),
        chunkDigests: hex(chunkDigests),
        digest: hex(digest),
      })),
    ),
    chunks: [...tables.chunks].flatMap(([content, chunks]) =>
      [...chunks].map(([name, data]) => {
        const [grain, sequence] = name.split("/");
        return { content, grain, sequence: Number(sequence), data: hex(data) };
      }),
    ),
    staging: [...tables.staging.values()].map((row) => ({ ...row })),
    subscriptions: [...tables.subscriptions.values()].map(({ withdrawnAt, ...row }) => ({
      ...row,
      withdrawn: withdrawnAt !== null,
    })),
    holdings: [...tables.holdings].map(([key, { hash, count }]) => {
      const { company, slice } = named(key, "company", "slice");
      return { company, slice: Number(slice), hash, count };
    }),
    activity: [...tables.activity].map(([key, { outcome }]) => ({
      ...named(key, "company", "run", "sliceId"),
      outcome,
    })),
    outbox: [...tables.outbox.values()].map((row) => ({ ...row })),
    runs: [...tables.runs].map(([id, { company, exit }]) => ({ id, company, exit })),
  };
}
