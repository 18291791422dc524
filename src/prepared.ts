/** Queries that a server sends again and again. */

const names = new Map<string, string>();

/**
 * Marks a query: PostgreSQL plans it once for a connection, and asked for outside a transaction it takes its scope along (database.ts).
 *
 * @param text a SELECT that changes nothing.
 * @returns the same text.
 */
export function prepared(text: string): string {
  if (!names.has(text)) names.set(text, `q${names.size}`);
  return text;
}

/** What a marked query is called on each connection. */
export const preparedName = (text: string): string | undefined => names.get(text);
