/** The one place that prints: standard output and standard error. What cannot be printed never stops the work; the end says so. */
import { fsyncSync } from "node:fs";
import type { WriteStream } from "node:tty";
import { SandpiperError } from "../errors.ts";

export type Stream = NodeJS.WritableStream & Partial<Pick<WriteStream, "isTTY" | "hasColors">> & { fd?: number };

export class Printer {
  #failure: NodeJS.ErrnoException | undefined;
  #outClosed = false;

  constructor(
    readonly out: Stream,
    readonly err: Stream,
  ) {
    for (const stream of [out, err]) {
      stream.on("error", (error: NodeJS.ErrnoException) => {
        // Whoever read our output has gone, for example `head`. That is no failure of ours.
        if (error.code !== "EPIPE") this.#failure ??= error;
      });
    }
  }

  /** True once standard output does not take any more: its reader has gone, or its disk is full. */
  get outClosed(): boolean {
    return this.#outClosed;
  }

  /** Writes text that is safe already to standard output, and waits until it is gone. */
  async print(text: string): Promise<void> {
    await new Promise<void>((done) => {
      this.out.write(text, (error) => {
        if (error) this.#outClosed = true;
        done();
      });
    });
  }

  /** The same, for what cannot be printed again: it must have been taken, and be on the disk if it goes into a file. @throws `storage` */
  async printForGood(text: string, what: string): Promise<void> {
    await this.print(text);
    if (this.#outClosed) throw this.#notPrinted(what, this.#failure);
    try {
      fsyncSync(this.out.fd ?? -1);
    } catch (error) {
      // A pipe or a terminal has no disk behind it.
      if (["ENOSPC", "EDQUOT", "EIO"].includes((error as NodeJS.ErrnoException).code ?? ""))
        throw this.#notPrinted(what, error);
    }
  }

  #notPrinted(what: string, cause: unknown): SandpiperError {
    return new SandpiperError("storage", `${what} could not be printed (${reason(cause)}), so nothing was changed`, {
      cause,
      hint: "Send standard output to a place with free space, and run it again.",
    });
  }

  /** Writes text that is safe already to standard error. */
  tell(text: string): void {
    this.err.write(text);
  }

  /** What to end with if something could not be printed; undefined if all was, or `error` has said so. */
  async failure(error?: SandpiperError): Promise<SandpiperError | undefined> {
    await new Promise((done) => setImmediate(done)); // what was written last may fail a moment later
    if (this.#failure === undefined || error?.cause === this.#failure) return undefined;
    return new SandpiperError("storage", `not everything could be printed (${reason(this.#failure)})`, {
      cause: this.#failure,
      hint: "The work itself was not affected. Send the output to a place with free space.",
    });
  }
}

const reasons: Record<string, string> = {
  ENOSPC: "the disk is full",
  EDQUOT: "the disk quota is used up",
  EFBIG: "the file may not grow any more",
};

function reason(error: unknown): string {
  const { code, message } = (error ?? { code: "EPIPE", message: "" }) as NodeJS.ErrnoException;
  return code === "EPIPE" ? "its reader has gone" : (reasons[code ?? ""] ?? message);
}

let shared: Printer | undefined;

/** That of this process. */
export function processPrinter(): Printer {
  shared ??= new Printer(process.stdout, process.stderr);
  return shared;
}
