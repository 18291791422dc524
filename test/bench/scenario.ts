/** What a scenario is, and the small sums that all do. */

/** What came of a scenario. */
export interface Row {
  figures: Record<string, number>;
  must: string;
  pass: boolean;
}

export type Scenario = (quick: boolean) => Promise<Row>;

/** How often what varies is measured, in turn with what it is compared with. */
export const rounds = (quick: boolean) => (quick ? 1 : 3);

export const median = (values: number[]): number => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!;
export const sum = (values: number[]): number => values.reduce((total, value) => total + value, 0);
export const mb = (bytes: number) => Math.round(bytes / 1e6);
export const round = (value: number, digits = 2) => Number(value.toFixed(digits));
export const seconds = (times: number[]) => round(median(times) / 1000);
