/**
 * What falls due for a whole crowd at once is done a few at a time. In between everybody else is served, and new connections are taken, of which
 * Node takes one in a turn of its loop, however long that is.
 */
export class Gradually {
  readonly #due: (() => void)[] = [];
  #going = false;

  /** Does this soon, after what was due before. */
  readonly soon = (work: () => void): void => {
    this.#due.push(work);
    if (!this.#going) setImmediate(this.#go);
    this.#going = true;
  };

  readonly #go = (): void => {
    for (let n = Math.min(inOneGo, this.#due.length); n > 0; n--) this.#due.shift()!();
    this.#going = this.#due.length > 0;
    if (this.#going) setImmediate(this.#go);
  };
}

const inOneGo = 8;

/** Connections that are given up, and what is said to them. */
export const gradually = new Gradually().soon;
