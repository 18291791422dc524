/**
 * Sessions without I/O. A session is a generator: it yields what it wants done (an operation of its port, by name)
 * and is resumed with the result, or with the error. It reads top to bottom like ordinary code, holds no socket,
 * SQL, clock or randomness, and runs the same under a real port, in tests and in a simulation.
 */
import type { Pieces } from "../../pieces.ts";

/** A port: what a session may ask for. */
type Port<P> = { [K in keyof P]: (...args: never[]) => unknown };

/** An operation of port `P`, waiting to be done. */
export type Effect<P extends Port<P>> = { [K in keyof P]: { operation: K; args: Parameters<P[K]> } }[keyof P];

/** A session over port `P`, or a part of one, that ends with `Result`. */
export type Conversation<P extends Port<P>, Result> = Generator<Effect<P>, Result, unknown>;

/** Asks for operations of port `P`, one function each: `yield* ask.receive()`. */
export type Asker<P extends Port<P>> = {
  [K in keyof P]: (...args: Parameters<P[K]>) => Conversation<P, Awaited<ReturnType<P[K]>>>;
};

/** The asker of port `P`; it knows nothing but the names that are asked for. */
export function asker<P extends Port<P>>(): Asker<P> {
  return new Proxy({} as Asker<P>, {
    get: (_target, operation) =>
      function* (...args: unknown[]): Conversation<P, unknown> {
        return yield { operation, args } as unknown as Effect<P>;
      },
  });
}

/** Does long work within a session, with a pause after each piece. */
export function* inPieces<P extends Port<P>, T>(
  work: Pieces<T>,
  pause: () => Conversation<P, void>,
): Conversation<P, T> {
  for (;;) {
    const piece = work.next();
    if (piece.done) return piece.value;
    yield* pause();
  }
}

/** Runs a session against a port, one operation at a time. @throws whatever the session lets through. */
export async function drive<P extends Port<P>, Result>(session: Conversation<P, Result>, port: P): Promise<Result> {
  let next = session.next();
  while (!next.done) {
    const { operation, args } = next.value;
    let result: unknown;
    try {
      result = await port[operation](...(args as never[]));
    } catch (error) {
      next = session.throw(error);
      continue;
    }
    next = session.next(result);
  }
  return next.value;
}
