/** Where the lines of a log go: written at once, so that an early exit loses nothing, and never holding up the code that logs. */
import { writeSync } from "node:fs";

/** What a pipe that is full has not taken yet may be as much as this; what comes beyond it is dropped. */
const maxWaitingBytes = 1024 * 1024;
const againMs = 50;
/** How long the end of the process waits for a pipe that is full. */
const patienceMs = 1000;

interface Waiting {
  bytes: Buffer;
  begun: boolean;
  /** How many lines are lost with it: one, or those whose loss it reports. */
  lines: number;
}

/**
 * Lines that cannot be written (a full disk, a reader that has gone) are dropped and counted; the first line that can be is
 * preceded by one that says how many they were. A pipe that is full is tried again a little later. Nothing is ever thrown.
 */
export class LogDestination {
  #waiting: Waiting[] = [];
  #waitingBytes = 0;
  #dropped = 0;
  /** Whether what was written last is part of a line. */
  #midLine = false;
  #timer: NodeJS.Timeout | undefined;

  /** @param put writes to the descriptor, and returns how many bytes of them it took. */
  constructor(
    private readonly fd: number,
    private readonly put: (fd: number, bytes: Buffer) => number = writeSync,
  ) {
    process.once("exit", () => this.#end());
  }

  write(line: string): void {
    if (this.#waitingBytes + Buffer.byteLength(line) > maxWaitingBytes) this.#dropped++;
    else {
      this.#reportDropped();
      this.#wait(line, 1);
    }
    this.#flush();
  }

  #reportDropped(): void {
    if (this.#dropped === 0) return;
    const report = { level: 40, time: new Date().toISOString(), event: "log.dropped", lines: this.#dropped };
    this.#wait(`${JSON.stringify(report)}\n`, this.#dropped);
    this.#dropped = 0;
  }

  #wait(text: string, lines: number): void {
    const bytes = Buffer.from(text);
    this.#waiting.push({ bytes, begun: false, lines });
    this.#waitingBytes += bytes.length;
  }

  #flush(): void {
    let first = this.#waiting[0];
    try {
      for (; first !== undefined; first = this.#waiting[0]) {
        if (!first.begun && this.#midLine) {
          this.put(this.fd, Buffer.from("\n")); // the rest of the line before it was dropped
          this.#midLine = false;
        }
        first.begun = true;
        const taken = this.put(this.fd, first.bytes);
        if (taken === 0) throw new Error("nothing is taken"); // never seen; it would be tried for ever
        this.#midLine = taken < first.bytes.length;
        first.bytes = first.bytes.subarray(taken);
        this.#waitingBytes -= taken;
        if (!this.#midLine) this.#waiting.shift();
      }
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "EAGAIN") {
        this.#timer ??= setTimeout(() => {
          this.#timer = undefined;
          this.#flush();
        }, againMs).unref();
      } else {
        for (const { lines } of this.#waiting) this.#dropped += lines;
        this.#waiting = [];
        this.#waitingBytes = 0;
      }
    }
  }

  #end(): void {
    this.#reportDropped();
    const deadline = performance.now() + patienceMs;
    for (;;) {
      this.#flush();
      if (this.#waiting.length === 0 || performance.now() > deadline) return;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, againMs);
    }
  }
}
