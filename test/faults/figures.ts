/** What a series of faults found: named numbers. */
export type Figures = Readonly<Record<string, number>>;

/** As one line. */
export const line = (figures: Figures): string =>
  Object.entries(figures)
    .map(([name, n]) => `${n} ${name}`)
    .join(", ");

/** Figures that must be 0 and are not: all but the first, which counts what was done. */
export const missed = (figures: Figures): string[] =>
  Object.entries(figures)
    .slice(1)
    .filter(([, n]) => n !== 0)
    .map(([name]) => name);
