/** What each signal means to this process (docs/exit-codes.md, "Signals"). */
import { isatty } from "node:tty";
import { type ErrorCode, SandpiperError } from "../errors.ts";

const endings = {
  SIGHUP: "hung_up",
  SIGINT: "interrupted",
  SIGQUIT: "quit",
  SIGTERM: "terminated",
} as const satisfies Partial<Record<NodeJS.Signals, ErrorCode>>;

/** At the first Node would open itself to a debugger, and at the second end. SIGPIPE and SIGXFSZ it ignores by itself. */
const ignored = ["SIGUSR1", "SIGUSR2"] as const;

export class Signals {
  readonly #terminals = [0, 1, 2].filter((fd) => isatty(fd));
  readonly #stop = new AbortController();
  readonly #hurry = new AbortController();
  #serving = false;
  /** Told of a signal that changes nothing. */
  onIgnored: (name: NodeJS.Signals) => void = () => {};

  /** From now on signals are heeded. */
  constructor() {
    for (const [name, code] of Object.entries(endings))
      process.on(name, () => this.#end(name as keyof typeof endings, code));
    for (const name of ignored) process.on(name, () => this.onIgnored(name));
  }

  /** Aborted by the first signal that asks for an end; its reason is the SandpiperError to end with. */
  get stop(): AbortSignal {
    return this.#stop.signal;
  }

  /** Aborted by the second: what still runs is not waited for any more. */
  get hurry(): AbortSignal {
    return this.#hurry.signal;
  }

  /** For a server: SIGHUP does not end it, and is left to its own listeners. */
  keepThroughHangUp(): void {
    this.#serving = true;
  }

  /** For the end of the process: over a terminal that is gone Node would abort, with a dump of memory. As its last deed it hangs up. */
  leaveTerminal(): void {
    if (this.#terminals.some((fd) => !isatty(fd))) this.#endAtOnce("SIGHUP");
  }

  #end(name: keyof typeof endings, code: ErrorCode): void {
    if (name === "SIGHUP" && this.#serving) return;
    if (!this.stop.aborted) {
      const hint = "What was not committed is rolled back.";
      this.#stop.abort(new SandpiperError(code, `stopped by ${name}`, { hint }));
    } else if (!this.hurry.aborted) this.#hurry.abort();
    else {
      // A third time: at once, as if it were not handled.
      this.#endAtOnce(name);
    }
  }

  #endAtOnce(name: NodeJS.Signals): void {
    process.removeAllListeners(name);
    process.kill(process.pid, name);
  }
}
