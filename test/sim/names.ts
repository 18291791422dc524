/** Ids and payloads in the simulation: they say whose they are. */

const hex = (n: number, digits: number) => n.toString(16).padStart(digits, "0");

/** An id that says what it is of: the same numbers, the same id. */
export const idOf = (kind: number, a: number, b = 0, c = 0, d = 0): string =>
  `${hex(kind, 8)}-${hex(a, 4)}-4${hex(b, 3)}-8${hex(c, 3)}-${hex(d, 12)}`;

/** Stands in every payload, key and value of a slice, and nowhere else. */
export const tagOf = (primary: number, slice: number): string => `<${primary}/${slice}>`;

/** The tags in what is sent. */
export const tagsIn = (bytes: Buffer | string): string[] =>
  (typeof bytes === "string" ? bytes : bytes.toString("latin1")).match(/<\d+\/\d+>/g) ?? [];
