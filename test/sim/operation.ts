/** What a session does in a database, and what comes of it, as plain data: a trace of it can be repeated in another database. */
import pg from "pg";
import type { TransactionOptions } from "../../src/database/database.ts";
import { asSandpiperError } from "../../src/errors.ts";
import { nameOf } from "./handler.ts";
import type { Rows } from "./table-rows.ts";

export type Operation =
  | { kind: "begin"; options: TransactionOptions }
  | { kind: "query" | "run"; text: string; values: readonly unknown[] }
  | { kind: "copyOut"; text: string }
  | { kind: "copyIn"; text: string; body: Buffer }
  | { kind: "commit" | "rollback" | "drop" };

/** What came of it, or which lock it waits for. */
export interface Outcome {
  result?: unknown;
  error?: unknown;
  blocked?: string;
}

/** What an operation of a trace came to: of a query its rows, of a COPY its bytes, of an error what it is called. */
export type Told = { rows: string[] } | { count: number } | { hex: string } | { error: string } | { done: true };

export interface Step {
  /** Number of the session, from 0; -1 is somebody else, who changes companies. */
  session: number;
  scope: string;
  /** Changed companies are there at once, as if their owner had written them. */
  operation: Operation | { kind: "companies"; rows: Rows["companies"] };
  /** Undefined: it waits for a lock, and a later step of this session says what it came to. */
  told: Told | undefined;
  /** Whether it has waited before. */
  resumed: boolean;
}

export interface Trace {
  name: string;
  /** What is in the tables at the beginning, and the last numbers of the sequences. */
  initial: Rows;
  sequences: Record<string, number>;
  steps: Step[];
  /** What is committed at the end. */
  final: Rows;
}

/** Text that is the same for the same value: names in order, bytes as hexadecimal digits. */
export const canonical = (value: unknown): string => JSON.stringify(packed(value));

/** As JSON can carry it. */
export function packed(value: unknown): unknown {
  if (Buffer.isBuffer(value)) return { hex: value.toString("hex") };
  if (value instanceof Date) return "a date";
  if (Array.isArray(value)) return value.map(packed);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(entries.map(([name, one]) => [name, packed(one)]));
}

/** The bytes in it are bytes again. */
export function unpacked(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(unpacked);
  if (typeof value !== "object" || value === null) return value;
  if ("hex" in value) return Buffer.from(value.hex as string, "hex");
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, unpacked(one)]));
}

/** Columns that no two databases agree on, or that nobody reads. */
const aside = /^(slice\.)?(createdAt|updatedAt|contentDate)$|^\?column\?$|^pg_advisory|^set_config$/;

/** Rows as they are compared: in their order, where the statement asks for one. */
export function tellRows(text: string, rows: readonly object[]): Told {
  const told = rows.map((row) => {
    const kept = Object.entries(row).filter(([name]) => !aside.test(name));
    // Who holds a lock has a name that only a real connection has.
    if (nameOf(text) === "holder") return "somebody";
    return canonical(Object.fromEntries(kept));
  });
  return { rows: /ORDER BY/.test(text) ? told : told.sort() };
}

/** An error by its code, and by those of the database where it comes from there. */
export function tellError(thrown: unknown): Told {
  const { code, cause } = asSandpiperError(thrown);
  const origin = thrown instanceof pg.DatabaseError ? thrown : cause;
  const names = origin instanceof pg.DatabaseError ? [origin.code, origin.constraint] : [];
  return { error: [code, ...names.filter((name) => name !== undefined)].join(" ") };
}
