/** Virtual time: events in order, one after another; between two of them all code runs until it waits for the next. */
const immediately = setImmediate;
const { nextTick } = process;

/** A turn of the event loop, which costs some microseconds. */
const turn = () => new Promise<void>((resolve) => void immediately(resolve));
/** Events after which there is one, for the little code that waits for it. */
const turnEvery = 64;

/** Lets all code run until it waits: what is queued behind a tick comes after all promises, and streams take a few of them. */
const settle = () => new Promise<void>((resolve) => nextTick(() => nextTick(() => nextTick(() => nextTick(resolve)))));

interface Event {
  ms: number;
  /** Among events of one moment the first that was planned comes first. */
  sequence: number;
  work: (() => void) | undefined;
}

export class Clock {
  nowMs = 0;
  /** Events that have happened. */
  events = 0;
  readonly #heap: Event[] = [];
  #sequence = 0;
  #planned = 0;

  /** Plans `work` for a moment; what is returned takes it back. */
  after(ms: number, work: () => void): () => void {
    const event: Event = { ms: this.nowMs + ms, sequence: this.#sequence++, work };
    this.#push(event);
    this.#planned++;
    return () => {
      if (event.work === undefined) return;
      event.work = undefined;
      this.#planned--;
    };
  }

  wait(ms: number): Promise<void> {
    return new Promise((resolve) => this.after(ms, resolve));
  }

  /** Events that are still to come. */
  get planned(): number {
    return this.#planned;
  }

  /** Lets time pass until `done`, or until nothing is left to happen. @returns whether it came to `done` before `maxMs` and `maxEvents`. */
  async run(done: () => boolean, maxMs: number, maxEvents: number): Promise<boolean> {
    const lastEvent = this.events + maxEvents;
    await turn();
    while (!done()) {
      let event = this.#pop();
      if (event === undefined) {
        await turn();
        if (done()) return true;
        event = this.#pop();
        if (event === undefined) return false;
      }
      if (event.work === undefined) continue;
      if (event.ms > maxMs || this.events >= lastEvent) return false;
      this.nowMs = event.ms;
      this.events++;
      this.#planned--;
      const { work } = event;
      event.work = undefined;
      work();
      await (this.events % turnEvery === 0 ? turn() : settle());
    }
    return true;
  }

  #push(event: Event): void {
    const heap = this.#heap;
    let at = heap.push(event) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!before(event, heap[parent]!)) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = event;
  }

  #pop(): Event | undefined {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return first;
    let at = 0;
    for (;;) {
      let child = at * 2 + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child++;
      if (!before(heap[child]!, last)) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = last;
    return first;
  }
}

const before = (a: Event, b: Event) => a.ms < b.ms || (a.ms === b.ms && a.sequence < b.sequence);
