/** What the sampler and the scales tell each other. */

/** A server that is looked at. */
export interface Subject {
  name: string;
  pid: number;
  url: string;
}

/** What was seen from `begunMs` to `endedMs`, on the clock that all processes of the machine share. */
export interface Sample {
  name: string;
  begunMs: number;
  endedMs: number;
  /** How long the answer took, but for the time in which the machine let the server, or us, wait for a core. Endless when there was none. */
  lateMs: number;
  /** Most memory since the sample before, and memory now. */
  peakMb: number;
  residentMb: number;
}

/** Milliseconds on that clock. */
export const clockMs = (): number => Number(process.hrtime.bigint() / 1000n) / 1000;

/** Says that a process has ended: after everything else that is seen of it. */
export const gone = (name: string): Sample => ({
  name,
  begunMs: Number.MAX_VALUE,
  endedMs: Number.MAX_VALUE,
  lateMs: 0,
  peakMb: 0,
  residentMb: 0,
});
