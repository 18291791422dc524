/** Cuts of the connection at every place of a session, in both directions; and wires that are slow, dead, or dead in one direction. */
import type { Side, Trouble } from "./bad-wire.ts";
import type { Figures } from "./figures.ts";
import { Subject, type Teardown } from "./subject.ts";

export interface CutCounts {
  /** Cuts of syncs in this process. */
  inProcess: number;
  /** Of the real command. */
  commands: number;
  /** Wires that go dead without a word, which takes the secondary some seconds each to notice. */
  dead: number;
}

const sides: readonly Side[] = ["secondary", "primary"];
/** After so many cuts a plain run must bring everything. */
const groupOf = 20;

/** @param tell is told of each fault that was found. */
export async function sweepCuts(test: Teardown, counts: CutCounts, tell: (fault: string) => void): Promise<Figures> {
  const subject = await Subject.make(test);
  const figures = { cuts: 0, mixed: 0, "wrong exit codes": 0, "locks left": 0, "not converged": 0, missed: 0 };
  const { wire, secondary, primary } = subject;
  const fault = (name: keyof typeof figures, what: string) => {
    figures[name]++;
    tell(`${name}: ${what}`);
  };

  const command = async () => (await secondary.run(["sync", "--retry-for", "0", "--sync.idle_seconds", "2"])).code!;

  /** How many bytes each side sends in a session that nothing happens to. */
  const measure = async (): Promise<Record<Side, number>> => {
    await subject.change();
    wire.begin();
    if ((await subject.sync()) !== 0) throw new Error("a sync that nothing happens to fails");
    return { ...wire.passed };
  };

  const cut = async (trouble: Trouble, sync: () => Promise<number>) => {
    const where = `${trouble.how} after ${trouble.at} bytes of the ${trouble.from}`;
    await subject.change();
    const before = await secondary.content();
    const after = await primary.content();
    wire.begin(trouble);
    const code = await sync();
    if (wire.tripped) figures.cuts++;
    const mixed = await subject.mixed(before, after);
    if (mixed.length > 0) fault("mixed", `${where}: ${mixed.join(", ")}`);
    const locks = await subject.locks();
    if (locks > 0) fault("locks left", `${where}: ${locks}`);
    const done = await subject.equal();
    // 0 says that everything has arrived, 3 that it is worth another try.
    if (code !== 3 && !(code === 0 && done)) fault("wrong exit codes", `${where}: ${code}`);
    wire.begin();
  };

  const converge = async (where: string) => {
    wire.begin();
    const code = await subject.sync();
    if (code !== 0 || !(await subject.equal())) fault("not converged", `after ${where}: exit ${code}`);
  };

  const sweep = async (n: number, sync: () => Promise<number>) => {
    const length = await measure();
    const kinds = sides.flatMap((from) => (["fin", "rst"] as const).map((how) => ({ from, how })));
    const each = Math.ceil(n / kinds.length);
    let done = 0;
    for (let i = 0; i < each; i++) {
      for (const { from, how } of kinds) {
        if (done === n) break;
        const at = Math.floor((i * length[from]) / each);
        await cut({ from, how, at }, sync);
        if (++done % groupOf === 0 || done === n) await converge(`${how} at ${at}`);
      }
    }
  };

  await sweep(counts.inProcess, () => subject.sync());
  await sweep(counts.commands, command);

  const length = await measure();
  for (let i = 0; i < counts.dead; i++) {
    const from = sides[i % 2]!;
    const how = i % 4 < 2 ? "stall" : "half-open";
    // In the second half of what the side sends: before that it is HTTP, whose answer is waited for 30 seconds (silences.ts).
    const at = Math.floor(length[from] * (0.6 + (0.4 * i) / counts.dead));
    await cut({ from, how, at }, () => subject.sync());
    await converge(how);
  }

  // What either side sends, from the first byte of the login to the last of the session.
  for (const [pieceBytes, delayMs] of [
    [1, 0],
    [700, 3],
  ] as const) {
    wire.pieceBytes = pieceBytes;
    wire.delayMs = delayMs;
    await subject.change();
    await converge(`pieces of ${pieceBytes} bytes`);
    wire.pieceBytes = Number.POSITIVE_INFINITY;
    wire.delayMs = 0;
  }
  figures.missed = counts.inProcess + counts.commands + counts.dead - figures.cuts;
  return figures;
}
