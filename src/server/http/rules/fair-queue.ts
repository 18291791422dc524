/** Who is served, and who waits in line: the place goes to whoever holds the fewest, among those to the first that came. Pure. */

/** What the queue knows of somebody's turn. */
export interface Ticket {
  /** Whose it is: a partner, or an address. */
  readonly who: string;
}

export interface QueueLimits {
  /** How many are served at once. */
  places: number;
  /** Places of one and the same, at most; half of them unless said, lest one that comes often keeps all others out. */
  share?: number;
  /** How many wait at most; four for each place unless said. Who comes after these is sent away. */
  line?: number;
  /** Of one and the same; half of the line unless said. */
  lineShare?: number;
}

export class FairQueue<T extends Ticket> {
  readonly #limits: Required<QueueLimits>;
  readonly #serving = new Set<T>();
  #waiting: T[] = [];

  constructor({ places, share = Math.ceil(places / 2), line = 4 * places, lineShare = line / 2 }: QueueLimits) {
    this.#limits = { places, share, line, lineShare };
  }

  /** Why no more are taken: the line is full, or this one has its share of it already; undefined when one more may come. */
  refusal(who: string): "full" | "share" | undefined {
    if (this.#waiting.length >= this.#limits.line) return "full";
    return count(this.#waiting, who) >= this.#limits.lineShare ? "share" : undefined;
  }

  /** Somebody comes to the end of the line; {@link admit} says whether it is its turn. */
  enter(ticket: T): void {
    this.#waiting.push(ticket);
  }

  /** Somebody is done, or has left the line. */
  leave(ticket: T): void {
    this.#serving.delete(ticket);
    this.#waiting = this.#waiting.filter((other) => other !== ticket);
  }

  /** Gives the free places away. @returns those whose turn has come. */
  admit(): T[] {
    const admitted: T[] = [];
    while (this.#serving.size < this.#limits.places) {
      const next = this.#inOrder().find(({ who }) => count(this.#serving, who) < this.#limits.share);
      if (next === undefined) break;
      this.#waiting = this.#waiting.filter((ticket) => ticket !== next);
      this.#serving.add(next);
      admitted.push(next);
    }
    return admitted;
  }

  /** How many of those who wait would come before this one, as things are. */
  ahead(ticket: T): number {
    return Math.max(0, this.#inOrder().indexOf(ticket));
  }

  #inOrder(): T[] {
    const held = new Map<string, number>();
    for (const { who } of this.#serving) held.set(who, (held.get(who) ?? 0) + 1);
    return [...this.#waiting].sort((a, b) => (held.get(a.who) ?? 0) - (held.get(b.who) ?? 0));
  }
}

function count(tickets: Iterable<Ticket>, who: string): number {
  let n = 0;
  for (const ticket of tickets) if (ticket.who === who) n++;
  return n;
}
