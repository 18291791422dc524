/** A schedule: who there is, and what happens when. It is plain data, so that it can be shrunk and kept. */

export interface Action {
  /** Virtual milliseconds from the beginning. */
  at: number;
  kind: string;
  /** Whom it is about and how much: each action reads these as it likes, modulo what there is. */
  a: number;
  b: number;
  n: number;
}

export interface Plan {
  seed: number;
  primaries: { hostile: boolean; slices: number; grains: number }[];
  /** Primaries use the same ids for their slices, grains and subscriptions. */
  sameIds: boolean;
  /** For each secondary, which slices it subscribes to: bits, primary by primary. */
  secondaries: number[][];
  /** Milliseconds on average: a statement, a message; how long a token is good. */
  dbMs: number;
  netMs: number;
  tokenMs: number;
  actions: Action[];
}
