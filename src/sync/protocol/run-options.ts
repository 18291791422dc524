/** What whoever orders a run decides about it. */

/** A new flag of `sync` is one more member here, read where it matters. */
export interface RunOptions {
  /** A rehearsal: all is decided, nothing is fetched or changed here. */
  readonly rehearsal: boolean;
  /** Slices may be emptied or lose more than half, and more than half of the subscriptions may disappear. */
  readonly allowDrops: boolean;
  /** How long another run with the same primary is waited for. */
  readonly waitSeconds: number;
  /** How long what fails only for the moment is tried again; 0: never. */
  readonly retryForSeconds: number;
}

/** For runs that nobody configures: no retry (`sandpiper sync` retries for 300 s unless it is told otherwise). */
export const plainRun: RunOptions = { rehearsal: false, allowDrops: false, waitSeconds: 0, retryForSeconds: 0 };
