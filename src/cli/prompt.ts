/** Questions on a terminal, and secrets from standard input. */
import { createInterface } from "node:readline/promises";
import { Writable } from "node:stream";
import { escapeUnseen } from "../characters.ts";
import { SandpiperError } from "../errors.ts";

export class Prompt {
  /** Whether somebody can be asked: elsewhere than on a terminal nobody ever is. */
  readonly available: boolean;
  readonly #signal: AbortSignal;

  constructor(json: boolean, signal: AbortSignal) {
    this.available = !json && process.stdin.isTTY === true && process.stdout.isTTY === true;
    this.#signal = signal;
  }

  /** Asks for one line. `hidden` does not show what is typed. */
  async ask(question: string, options: { hidden?: boolean } = {}): Promise<string> {
    const silent = new Writable({ write: (_chunk, _encoding, done) => done() });
    const output = options.hidden ? silent : process.stdout;
    const lines = createInterface({ input: process.stdin, output, terminal: true });
    const over = new AbortController();
    // In raw mode Ctrl-C is a key like any other, and Ctrl-D leaves the question open for ever.
    lines.on("SIGINT", () => process.kill(process.pid, "SIGINT"));
    lines.on("close", () => over.abort());
    // The terminal is gone. Either may say so when nothing is asked any more, so that these listeners stay.
    for (const source of [lines, process.stdin]) source.on("error", () => over.abort());
    const signal = AbortSignal.any([this.#signal, over.signal]);
    try {
      if (options.hidden) process.stdout.write(escapeUnseen(question));
      const answer = await lines.question(options.hidden ? "" : escapeUnseen(question), { signal });
      return options.hidden ? answer : answer.trim();
    } catch (error) {
      this.#signal.throwIfAborted();
      if (!over.signal.aborted) throw error;
      throw new SandpiperError("usage", "no answer was given", { hint: "Nothing was changed." });
    } finally {
      lines.close();
      if (options.hidden) process.stdout.write("\n");
    }
  }

  /** Asks for a yes. @throws `usage` for anything else. */
  async confirm(question: string): Promise<void> {
    const answer = await this.ask(`${question} [y/N] `);
    if (!/^(y|yes)$/i.test(answer))
      throw new SandpiperError("usage", "not confirmed", { hint: "Nothing was changed." });
  }

  /** A secret: asked for on a terminal, otherwise the first line of standard input. */
  async secret(question: string, what: string): Promise<string> {
    if (process.stdin.isTTY) {
      if (this.available) return this.ask(question, { hidden: true });
      throw new SandpiperError("usage", `${what} is read from standard input, which is a terminal`, {
        hint: "Pipe it in.",
      });
    }
    return firstLine(this.#signal);
  }
}

const maxLineBytes = 64 * 1024;

async function firstLine(signal: AbortSignal): Promise<string> {
  signal.throwIfAborted(); // a listener would not hear of what has been already
  const stop = () => process.stdin.destroy();
  signal.addEventListener("abort", stop, { once: true });
  const pieces: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const piece of process.stdin) {
      pieces.push(piece);
      bytes += piece.length;
      if (piece.includes(0x0a) || bytes > maxLineBytes) break;
    }
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  } finally {
    signal.removeEventListener("abort", stop);
  }
  signal.throwIfAborted();
  return Buffer.concat(pieces).toString("utf8").split(/\r?\n/, 1)[0]!;
}
