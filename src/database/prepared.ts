/** Statements that a connection sends again and again: planned once, which is most of what a small one costs. */

const names = new Map<string, string>();

/**
 * Marks one: PostgreSQL plans it once for a connection. Only for one whose plan does not depend on its values. Asked for outside a transaction,
 * by `query` or `one`, it takes its scope along (database.ts), and must be a SELECT that changes nothing.
 *
 * @returns the same text.
 */
export function prepared(text: string): string {
  if (!names.has(text)) names.set(text, `q${names.size}`);
  return text;
}

/** What a marked query is called on each connection. */
export const preparedName = (text: string): string | undefined => names.get(text);
