/** The rows of the simulated database, and a transaction's view of them. Rows are never changed, only replaced. */
import { createHash } from "node:crypto";
import pg from "pg";
import { uuidBytes } from "../../src/ids.ts";
import { chunkBytes } from "../../src/slices/rules/slice.ts";
import { encodeTuple, int8 } from "../harness/tuples.ts";
import type { Locks, Mode } from "./locks.ts";

export interface Company {
  id: string;
  name: string;
  active: boolean;
  /** The API key that it shows us (on a primary). */
  apiKey: string;
  etag: string | null;
}
export interface SliceRow {
  key: number;
  content: number;
  company: string;
  id: string;
  name: string;
  nameKey: string;
  type: string;
  allowSync: boolean;
  hash: string;
  sum: Buffer;
  count: number;
  bytes: number;
  sketch: Buffer;
}
export interface SubscriptionRow {
  key: number;
  company: string;
  id: string;
  slice: number;
  name: string;
  nameKey: string;
  description: string;
  active: boolean;
  offered: boolean;
  withdrawnAt: number | null;
}
export interface StagingRow {
  slice: number;
  hash: string;
  content: number;
}

/** A grain, with what is computed from it once: its digest and its tuples. */
export class Grain {
  readonly digest: Buffer | null;
  #unit: Buffer | undefined;
  #counted: Buffer | undefined;
  #mark: Buffer | undefined;
  #record: Buffer | undefined;

  constructor(
    readonly id: string,
    readonly key: string,
    readonly source: string,
    readonly encoding: string,
    readonly bytes: number,
    readonly payload: Buffer | null,
    readonly chunkDigests: Buffer | null,
  ) {
    const body = payload ?? chunkDigests;
    this.digest = body && digestOf(id, key, source, encoding, bytes, body);
  }

  /** id and digest. */
  get unit(): Buffer {
    this.#unit ??= encodeTuple([uuidBytes(this.id), this.digest]);
    return this.#unit;
  }

  /** The id alone. */
  get named(): Buffer {
    return encodeTuple([uuidBytes(this.id)]);
  }

  /** id, digest and size, with nothing between them; nothing of a grain that has no digest yet. */
  get mark(): Buffer {
    this.#mark ??=
      this.digest === null ? Buffer.alloc(0) : Buffer.concat([uuidBytes(this.id), this.digest, int8(this.bytes)]);
    return this.#mark;
  }

  /** id, digest and size. */
  get counted(): Buffer {
    this.#counted ??= encodeTuple([uuidBytes(this.id), this.digest, int8(this.bytes)]);
    return this.#counted;
  }

  /** All that travels. */
  get record(): Buffer {
    const { key, source, encoding } = this;
    this.#record ??= encodeTuple([
      uuidBytes(this.id),
      Buffer.from(key),
      Buffer.from(source),
      Buffer.from(encoding),
      int8(this.bytes),
      this.payload,
    ]);
    return this.#record;
  }
}

/** SHA-256 (PROTOCOL.md, "Digest of a grain"). */
function digestOf(id: string, key: string, source: string, encoding: string, bytes: number, body: Buffer): Buffer {
  const parts = [key, source, encoding].flatMap((text) => {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(Buffer.byteLength(text));
    return [length, Buffer.from(text)];
  });
  return createHash("sha256")
    .update(Buffer.concat([uuidBytes(id), ...parts, int8(bytes), body]))
    .digest();
}

export type Grains = ReadonlyMap<string, Grain>;
export type Chunks = ReadonlyMap<string, Buffer>;

export interface Tables {
  companies: ReadonlyMap<string, Company>;
  slices: ReadonlyMap<number, SliceRow>;
  metadata: ReadonlyMap<number, readonly (readonly [string, string])[]>;
  /** By content key, then by id. */
  grains: ReadonlyMap<number, Grains>;
  /** By content key, then by grain and number. */
  chunks: ReadonlyMap<number, Chunks>;
  staging: ReadonlyMap<number, StagingRow>;
  subscriptions: ReadonlyMap<number, SubscriptionRow>;
  holdings: ReadonlyMap<string, { hash: string; count: number }>;
  activity: ReadonlyMap<string, { outcome: string }>;
  outbox: ReadonlyMap<string, { company: string; run: string; slice: string; sequence: number; body: unknown }>;
  runs: ReadonlyMap<string, { company: string; exit: number | null }>;
}
export type TableName = keyof Tables;
type KeyOf<T extends TableName> = Tables[T] extends ReadonlyMap<infer K, unknown> ? K : never;
type RowOf<T extends TableName> = Tables[T] extends ReadonlyMap<unknown, infer R> ? R : never;

export const noTables = (): Tables => ({
  companies: new Map(),
  slices: new Map(),
  metadata: new Map(),
  grains: new Map(),
  chunks: new Map(),
  staging: new Map(),
  subscriptions: new Map(),
  holdings: new Map(),
  activity: new Map(),
  outbox: new Map(),
  runs: new Map(),
});

/** What numbers rows. */
export type Sequence = "slice" | "content" | "subscription" | "outbox";

/** What a transaction has written, by table; undefined for what it deleted. */
export type Changes = Map<TableName, Map<unknown, unknown>>;

export interface Holder {
  /** "all", or the company whose rows alone are seen: row-level security. */
  readonly scope: string;
  /** What is told to whoever watches commits. */
  readonly purpose: string;
  readonly server: {
    readonly rowSecurity: boolean;
    readonly faults: Readonly<Faults>;
    onEvent(name: string): void;
  };
}

/** What the world can do to a database. */
export interface Faults {
  /** The next COMMIT's answer gets lost: after the commit, before it, or while it goes on; and the server is not to be reached for a while. */
  loseCommit: { committed: boolean; awayMs: number; lateMs?: number; of?: keyof Tables } | undefined;
  diskFull: boolean;
}

/** A transaction, or a statement on its own. */
export class Tx {
  readonly changes: Changes = new Map();
  #merged = new Map<TableName, ReadonlyMap<unknown, unknown>>();
  #known = new Map<string, unknown>();

  /** @param base what is committed, now or when the snapshot was taken. */
  constructor(
    private readonly base: () => Tables,
    private readonly locks: Locks<Holder>,
    readonly holder: Holder,
    readonly contentKey: number,
    private readonly draw: (sequence: Sequence) => number,
    readonly readOnly: boolean,
  ) {}

  /** Others have committed meanwhile: the next statement sees it. @param known what it has found out already, if it has waited. */
  refresh(known = new Map<string, unknown>()): void {
    this.#merged = new Map();
    this.#known = known;
  }

  /** What a statement finds out before it waits for a lock, and does not look at again after that. */
  once<T>(name: string, find: () => T): T {
    if (!this.#known.has(name)) this.#known.set(name, find());
    return this.#known.get(name) as T;
  }

  /** The next number of a sequence: one for a statement, or for each of its rows. */
  next(sequence: Sequence, row = 0): number {
    return this.once(`next ${sequence} ${row}`, () => this.draw(sequence));
  }

  all<T extends TableName>(table: T): Tables[T] {
    const base = this.base()[table];
    const changes = this.changes.get(table);
    if (changes === undefined) return base;
    let merged = this.#merged.get(table);
    if (merged === undefined) {
      merged = apply(base as ReadonlyMap<unknown, unknown>, changes);
      this.#merged.set(table, merged);
    }
    return merged as Tables[T];
  }

  rows<T extends TableName>(table: T): RowOf<T>[] {
    return [...(this.all(table) as ReadonlyMap<unknown, RowOf<T>>).values()];
  }

  get<T extends TableName>(table: T, key: KeyOf<T>): RowOf<T> | undefined {
    const changes = this.changes.get(table);
    if (changes?.has(key)) return changes.get(key) as RowOf<T> | undefined;
    return (this.base()[table] as ReadonlyMap<unknown, RowOf<T>>).get(key);
  }

  put<T extends TableName>(table: T, key: KeyOf<T>, row: RowOf<T> | undefined): void {
    this.#checkWritable();
    let changes = this.changes.get(table);
    if (changes === undefined) {
      changes = new Map();
      this.changes.set(table, changes);
    }
    changes.set(key, row);
    this.#merged.delete(table);
  }

  lock<T extends TableName>(table: T, key: KeyOf<T>, mode: Mode): void {
    this.#checkWritable();
    this.locks.take(`${table} ${key}`, this.holder, mode);
  }

  /** As `SKIP LOCKED`. */
  tryLock<T extends TableName>(table: T, key: KeyOf<T>, mode: Mode): boolean {
    this.#checkWritable();
    return this.locks.try(`${table} ${key}`, this.holder, mode);
  }

  /** Whoever inserts the same into a unique column waits for us. */
  unique(...key: (string | number)[]): void {
    this.locks.take(`unique ${key.join(" ")}`, this.holder, "update");
  }

  advisory(name: string, mode: Mode, until: "commit" | "unlock"): void {
    this.locks.take(name, this.holder, mode, until);
  }

  tryAdvisory(name: string, until: "commit" | "unlock" = "unlock"): boolean {
    return this.locks.try(name, this.holder, "update", until);
  }

  unlock(name: string): void {
    this.locks.unlock(name, this.holder);
  }

  /** Row locks are written too. */
  #checkWritable(): void {
    if (this.readOnly) throw pgError("25006", "cannot execute this in a read-only transaction");
  }

  /** The grains of a content, ascending by id. */
  grains(content: number): readonly Grain[] {
    return ordered(this.get("grains", content) ?? none);
  }
}

const none: Grains = new Map();
const inOrder = new WeakMap<Grains, readonly Grain[]>();

export function ordered(grains: Grains): readonly Grain[] {
  let sorted = inOrder.get(grains);
  if (sorted === undefined) {
    sorted = [...grains.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
    inOrder.set(grains, sorted);
  }
  return sorted;
}

/** Rows with changes applied. */
export function apply(
  base: ReadonlyMap<unknown, unknown>,
  changes: ReadonlyMap<unknown, unknown>,
): ReadonlyMap<unknown, unknown> {
  const next = new Map(base);
  for (const [key, row] of changes) {
    if (row === undefined) next.delete(key);
    else next.set(key, row);
  }
  return next;
}

/** An error as PostgreSQL sends it. */
export function pgError(code: string, message: string, constraint?: string): Error {
  const error = new pg.DatabaseError(message, 0, "error");
  error.severity = "ERROR";
  error.code = code;
  error.constraint = constraint;
  return error;
}

/** What is unique only when a transaction ends: a company's subscription to a slice. @throws 23505 */
export function checkAtCommit(tx: Tx): void {
  tx.refresh();
  for (const [key, row] of (tx.changes.get("subscriptions") ?? new Map()) as Map<number, SubscriptionRow | undefined>) {
    if (row === undefined) continue;
    const { company, slice } = row;
    tx.unique("subscribed slices", company, slice);
    if (
      tx.rows("subscriptions").some((other) => other.key !== key && other.company === company && other.slice === slice)
    )
      throw pgError("23505", "duplicate subscription", "subscriptions_company_id_slice_key_key");
  }
}

/** A row that refers to a slice keeps it from being removed. @throws 23503 when there is no such slice. */
export function refer(tx: Tx, table: string, slice: number): void {
  tx.lock("slices", slice, "key-share");
  if (tx.get("slices", slice) === undefined)
    throw pgError("23503", "there is no such slice", `${table}_slice_key_fkey`);
}

/** Adds grains under a content. @throws 23505 for an id or key that is there, 23514 for a payload that is not as long as its row says. */
export function addGrains(tx: Tx, content: number, grains: readonly Grain[]): void {
  const next = new Map(tx.get("grains", content) ?? none);
  const keys = new Set([...next.values()].map((grain) => grain.key));
  for (const grain of grains) {
    if (next.has(grain.id)) throw pgError("23505", "duplicate id", "grains_pkey");
    if (keys.has(grain.key)) throw pgError("23505", "duplicate key", "grains_key");
    if (grain.payload === null ? grain.bytes <= chunkBytes : grain.payload.length !== grain.bytes)
      throw pgError("23514", "a payload is not as long as its row says");
    next.set(grain.id, grain);
    keys.add(grain.key);
  }
  if (next.size > 0) tx.put("grains", content, next);
}
