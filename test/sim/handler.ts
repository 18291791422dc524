/** What the handlers of statements share. */
import { pgError, type SliceRow, type Tx } from "./tables.ts";

export interface Result {
  rows: object[];
  /** Rows that were touched, if not as many as there are. */
  count?: number;
}

/** The settings of a session. */
export interface Settings {
  durable: boolean;
  contentKey: number;
  readOnly: boolean;
}

/** @param text the statement, for what stands in it that should be a parameter. */
export type Handler = (tx: Tx, values: never, session: Settings, text: string) => Result;

export const rows = (...all: (object | undefined)[]): Result => ({ rows: all.filter((row) => row !== undefined) });
export const touched = (count: number): Result => ({ rows: [], count });

/** The name of a statement: what the comment says that it begins with. */
export const nameOf = (text: string): string | undefined => /^\s*\/\* (\w+) \*\//.exec(text)?.[1];

/** What stands in a statement in the place of a parameter, where it can have none. @param where with any white space for its spaces. */
export const argument = (text: string, where: string): string | undefined =>
  new RegExp(where.replaceAll(" ", "\\s*")).exec(text)?.[1];

/** Row-level security of slices: a partner sees those that it has a subscription to, switched on or off. */
export function visible(tx: Tx, slice: SliceRow): boolean {
  const { scope, server } = tx.holder;
  if (scope === "all" || !server.rowSecurity) return true;
  return tx.rows("subscriptions").some((row) => row.slice === slice.key && row.company === scope);
}

/** Row-level security of what a slice holds: only with a subscription that is switched on. */
export function readable(tx: Tx, slice: SliceRow | undefined): boolean {
  const { scope, server } = tx.holder;
  if (scope === "all" || !server.rowSecurity) return true;
  return (
    slice !== undefined &&
    tx.get("companies", scope)?.active === true &&
    tx.rows("subscriptions").some((row) => row.slice === slice.key && row.company === scope && row.active)
  );
}

/** @throws 53100 while the disk is full. */
export function checkDisk(tx: Tx): void {
  const { server } = tx.holder;
  if (!server.faults.diskFull) return;
  server.onEvent("the disk is full");
  throw pgError("53100", "could not extend file: No space left on device");
}
