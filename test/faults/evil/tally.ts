/** What is counted while evil peers act. */

const wrongs = [
  "foreign",
  "mixed",
  "wrong exit codes",
  "wrong close codes",
  "not named",
  "hung",
  "too heavy",
  "not converged",
  "crashes",
  "not alive",
] as const;
export type Wrong = (typeof wrongs)[number];

export class Tally {
  moves = 0;
  /** Of a session, with one set of guards switched off each. */
  runs = 0;
  readonly counts = Object.fromEntries(wrongs.map((name) => [name, 0])) as Record<Wrong, number>;
  readonly faults: string[] = [];
  /** Is told how each run went. */
  tell: ((line: string) => void) | undefined;

  fault(wrong: Wrong, what: string): void {
    this.counts[wrong]++;
    this.faults.push(`${wrong}: ${what}`);
    this.tell?.(`FAULT ${wrong}: ${what}`);
  }
}
