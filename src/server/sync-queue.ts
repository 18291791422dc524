/** Which sessions are served, and which wait in line: the place goes to the partner that holds the fewest, among those to the first that came. Pure. */

/** What the queue knows of a session. */
export interface Ticket {
  readonly partner: string;
}

/** Waiting sessions per place: who comes after these is sent away. */
const waitingPerPlace = 4;

export class SyncQueue<T extends Ticket> {
  readonly #places: number;
  readonly #serving = new Set<T>();
  #waiting: T[] = [];

  constructor(places: number) {
    this.#places = places;
  }

  /** Why no more sessions are taken: the line is full, or this partner has half of it already; undefined when one more may come. */
  refusal(partner: string): "full" | "share" | undefined {
    const most = this.#places * waitingPerPlace;
    if (this.#waiting.length >= most) return "full";
    return this.#waiting.filter((ticket) => ticket.partner === partner).length >= most / 2 ? "share" : undefined;
  }

  /** A session comes to the end of the line; {@link admit} says whether it is its turn. */
  enter(ticket: T): void {
    this.#waiting.push(ticket);
  }

  /** A session has ended, or has left the line. */
  leave(ticket: T): void {
    this.#serving.delete(ticket);
    this.#waiting = this.#waiting.filter((other) => other !== ticket);
  }

  /** Gives the free places away. @returns the sessions whose turn has come. */
  admit(): T[] {
    const admitted: T[] = [];
    while (this.#serving.size < this.#places) {
      // No partner has more than half of the places, lest one that opens many keeps all others out.
      const next = this.#inOrder().find((ticket) => this.#held(ticket.partner) < Math.ceil(this.#places / 2));
      if (next === undefined) break;
      this.#waiting = this.#waiting.filter((ticket) => ticket !== next);
      this.#serving.add(next);
      admitted.push(next);
    }
    return admitted;
  }

  /** How many waiting sessions would come before this one, as things are. */
  ahead(ticket: T): number {
    return Math.max(0, this.#inOrder().indexOf(ticket));
  }

  #inOrder(): T[] {
    const held = new Map<string, number>();
    for (const { partner } of this.#serving) held.set(partner, (held.get(partner) ?? 0) + 1);
    return [...this.#waiting].sort((a, b) => (held.get(a.partner) ?? 0) - (held.get(b.partner) ?? 0));
  }

  #held(partner: string): number {
    return [...this.#serving].filter((ticket) => ticket.partner === partner).length;
  }
}
