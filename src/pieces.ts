/** Long work in pieces of some milliseconds, between which others get their turn. Pure: what a pause is, whoever runs it decides. */

/** Work that yields wherever it may pause. */
export type Pieces<T> = Generator<void, T, void>;

/** Does `work` for the numbers from 0 to before `count`, so many in a piece. */
export function* ranged(count: number, each: number, work: (from: number, to: number) => void): Pieces<void> {
  for (let from = 0; from < count; from += each) {
    if (from > 0) yield;
    work(from, Math.min(count, from + each));
  }
}

/** The parts back to back, each of which is forgotten as soon as it is copied. */
export function* joined(parts: Buffer[]): Pieces<Buffer> {
  const whole = Buffer.allocUnsafeSlow(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (let part = parts.shift(); part !== undefined; part = parts.shift()) {
    at += part.copy(whole, at);
    if (parts.length > 0) yield;
  }
  return whole;
}

/** Does it without a pause. */
export function atOnce<T>(work: Pieces<T>): T {
  for (;;) {
    const piece = work.next();
    if (piece.done) return piece.value;
  }
}
