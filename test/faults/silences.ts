/** Wires that go dead without a word while HTTP is spoken: at the login, at the list of subscriptions, at the upgrade. */
import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import type { Trouble } from "./bad-wire.ts";
import type { Figures } from "./figures.ts";
import { Subject, type Teardown } from "./subject.ts";

/** The connections of a sync, in their order. */
const talks = ["login", "subscriptions", "upgrade"] as const;
/** A secondary waits 30 seconds for an answer, a primary 10 for a request: these and some. */
const patienceMs = 36_000;
/** Bytes into a request or an answer: in the middle of its headers. */
const into = 60;
/** Subjects at once: they wait, mostly. */
const lanes = 4;

/** @param tell is told of each fault that was found. */
export async function keepSilent(test: Teardown, tell: (fault: string) => void): Promise<Figures> {
  const kinds = talks.flatMap((_, talk) =>
    (["stall", "half-open"] as const).flatMap((how) =>
      [
        { from: "secondary" as const, at: 0 },
        { from: "secondary" as const, at: into },
        { from: "primary" as const, at: into },
      ].map((where) => ({ talk, how, ...where })),
    ),
  );
  const figures = {
    silences: 0,
    mixed: 0,
    "wrong exit codes": 0,
    late: 0,
    "locks left": 0,
    "sockets left": 0,
    "not converged": 0,
  };
  const fault = (name: keyof typeof figures, what: string) => {
    figures[name]++;
    tell(`${name}: ${what}`);
  };

  const one = async (subject: Subject, { talk, how, from, at }: (typeof kinds)[number]) => {
    const { wire, primary, secondary } = subject;
    const what = `${how} of the ${from} at the ${talks[talk]}, after ${at} bytes`;
    await subject.change();
    wire.begin();
    if ((await subject.sync()) !== 0) throw new Error("a sync that nothing happens to fails");
    const trouble: Trouble = { from, how, at: wire.begun[talk]![from] + at };
    await subject.change();
    const [before, after] = [await secondary.content(), await primary.content()];
    wire.begin(trouble);
    const begunMs = performance.now();
    const code = await subject.sync();
    if (wire.tripped) figures.silences++;
    else fault("wrong exit codes", `${what}: it never came to that`);
    if (code !== 3) fault("wrong exit codes", `${what}: ${code}`);
    if (performance.now() - begunMs > patienceMs) fault("late", `${what}: ${performance.now() - begunMs} ms`);
    // The wire still holds its ends: what the primary has let go, it has let go by itself.
    const left = await heldSockets(primary.server!.url, begunMs + patienceMs);
    if (left > 0) fault("sockets left", `${what}: ${left}`);
    const mixed = await subject.mixed(before, after);
    if (mixed.length > 0) fault("mixed", `${what}: ${mixed.join(", ")}`);
    const locks = await subject.locks();
    if (locks > 0) fault("locks left", `${what}: ${locks}`);
    wire.begin();
    const next = await subject.sync();
    if (next !== 0 || !(await subject.equal())) fault("not converged", `${what}: exit ${next}`);
  };

  const lane = async () => {
    const subject = await Subject.make(test);
    for (let kind = kinds.shift(); kind !== undefined; kind = kinds.shift()) await one(subject, kind);
  };
  await Promise.all(Array.from({ length: lanes }, lane));
  return figures;
}

/** Connections that the server at `url` has not let go of by then. Linux tells; elsewhere none are seen. */
async function heldSockets(url: string, deadlineMs: number): Promise<number> {
  const local = `:${Number(new URL(url).port).toString(16).toUpperCase().padStart(4, "0")}`;
  for (;;) {
    const table = await readFile("/proc/net/tcp", "utf8").catch(() => "");
    const held = table.split("\n").filter((row) => {
      const [, from, , state] = row.trim().split(/\s+/);
      return from?.endsWith(local) && (state === established || state === closeWait);
    });
    if (held.length === 0 || performance.now() > deadlineMs) return held.length;
    await sleep(100);
  }
}

/** States of /proc/net/tcp. */
const [established, closeWait] = ["01", "08"];
