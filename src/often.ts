/** Statements that a connection runs again and again: planned once, which is most of what a small one costs. */

const names = new Map<string, string>();

/**
 * Marks a statement as one of them, and gives it back. Only for one whose plan does not depend on its values: no optional conditions,
 * no lists that may be long.
 */
export function often(text: string): string {
  if (!names.has(text)) names.set(text, `often ${names.size + 1}`);
  return text;
}

/** What a connection knows the statement by; undefined for one that is planned each time. */
export const nameOf = (text: string): string | undefined => names.get(text);
