/** Repeats a trace of the simulated database in a real one, step by step, and says where that does something else. */
import { once } from "node:events";
import type { Readable } from "node:stream";
import type { Database, Session } from "../../src/database/database.ts";
import { translate } from "../../src/database/database-errors.ts";
import { copyHeader, copyTrailer } from "../../src/slices/rules/tuples.ts";
import { differentAnswers, differentTables, history } from "./differences.ts";
import { type Operation, type Step, type Told, type Trace, tellError, tellRows, unpacked } from "./operation.ts";
import { readRows, replaceRows, writeCompanies } from "./postgres-rows.ts";
import { type RealSession, RealSessions } from "./real-sessions.ts";

/** A statement that takes longer waits for something. */
const patienceMs = 5000;

export class Replay {
  readonly #sessions: RealSessions;
  /** Steps that waited for a lock, in both. */
  waits = 0;
  steps = 0;

  constructor(
    db: Database,
    private readonly owner: Database,
  ) {
    this.#sessions = new RealSessions(db, owner);
  }

  /** @returns what is different, if anything is. */
  async run(trace: Trace): Promise<string | undefined> {
    try {
      await replaceRows(this.owner, trace.initial, trace.sequences);
    } catch (error) {
      return `${trace.name}: what it begins with cannot be: ${(error as { cause?: { detail?: string } }).cause?.detail ?? error}`;
    }
    try {
      for (const [i, step] of trace.steps.entries()) {
        this.steps++;
        const difference = await this.#step(step);
        if (difference !== undefined) return `${trace.name}, step ${i}: ${difference}\n${history(trace, i)}`;
      }
    } finally {
      await this.#sessions.reset();
    }
    const difference = differentTables(await readRows(this.owner), trace.final);
    return difference && `${trace.name}, at its end: ${difference}\n${history(trace, trace.steps.length - 1)}`;
  }

  async close(): Promise<void> {
    await this.#sessions.close();
  }

  async #step({ session: number, scope, operation, told, resumed }: Step): Promise<string | undefined> {
    if (operation.kind === "companies") {
      await writeCompanies(this.owner, operation.rows);
      return undefined;
    }
    if (operation.kind === "drop") {
      await this.#sessions.drop(number);
      return undefined;
    }
    const session = await this.#sessions.get(number, scope);
    if (!resumed) {
      const early = this.#sessions.all.find((other) => other.waiting?.over);
      if (early !== undefined) return "a statement does not wait any more that still waits in the simulation";
      const answer = perform(session, unpacked(operation) as Operation);
      const waiting = { over: false, answer };
      session.waiting = waiting;
      void answer.then(() => {
        waiting.over = true;
      });
    }
    const { waiting } = session;
    if (waiting === undefined) return "nothing waits here";
    if (told === undefined) {
      this.waits++;
      return (await this.#sessions.waits(session, patienceMs))
        ? undefined
        : `it does not wait: ${JSON.stringify(await within(waiting.answer))}`;
    }
    const answer = await within(waiting.answer);
    if (answer === undefined) return "it does not come to an end";
    session.waiting = undefined;
    return differentAnswers(answer, told);
  }
}

/** The answer, unless it does not come. */
async function within(answer: Promise<Told>): Promise<Told | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), patienceMs);
  });
  return Promise.race([answer, late]).finally(() => clearTimeout(timer));
}

const perform = (real: RealSession, operation: Operation): Promise<Told> =>
  attempt(real, operation).catch((error) => tellError(translate(error)));

async function attempt(real: RealSession, operation: Operation): Promise<Told> {
  const { session } = real;
  switch (operation.kind) {
    case "query":
      return tellRows(operation.text, await session.query<object>(operation.text, operation.values));
    case "run":
      return { count: await session.run(operation.text, operation.values) };
    case "copyOut":
      return { hex: (await readTuples(session.copyOut(operation.text))).toString("hex") };
    case "copyIn":
      await copyIn(session, operation.text, operation.body);
      return { done: true };
    case "begin":
      await real.begin(operation.options);
      return { done: true };
    default:
      await real.end(operation.kind === "commit");
      return { done: true };
  }
}

async function readTuples(stream: Readable): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of stream) pieces.push(piece as Buffer);
  return Buffer.concat(pieces).subarray(copyHeader.length, -copyTrailer.length);
}

async function copyIn(session: Session, text: string, body: Buffer): Promise<void> {
  const stream = session.copyIn(text);
  const done = once(stream, "finish");
  stream.write(copyHeader);
  stream.end(body);
  await done;
}
