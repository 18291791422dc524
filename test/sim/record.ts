/** Traces of the databases of simulated schedules, in which no database fails. */
import { contend } from "./contention.ts";
import { planOf } from "./draw.ts";
import type { Trace } from "./operation.ts";
import { Recorder } from "./recorder.ts";
import { simulate } from "./schedule.ts";

/** What happens to databases from outside; a trace would have to end there. */
const databaseFaults = ["stop a database", "lose a commit", "lose the commit of a slice", "fill a disk", "hold a row"];

/** The part of the traces that come from sessions which get in each other's way. */
const contended = 0.25;

/** @param first the seed to begin with. */
export async function record(first: number, count: number): Promise<Trace[]> {
  const traces: Trace[] = [];
  for (let seed = first; traces.length < count * contended; seed++) {
    const recorder = await contend(seed);
    recorder.end();
    traces.push(...recorder.traces);
  }
  for (let seed = first; traces.length < count; seed++) {
    const plan = planOf(seed);
    plan.actions = plan.actions.filter(({ kind }) => !databaseFaults.includes(kind));
    const recorders: Recorder[] = [];
    await simulate(plan, false, ({ primaries, secondaries }) => {
      for (const { db } of [...primaries, ...secondaries]) recorders.push(new Recorder(db, `seed ${seed}, ${db.name}`));
    });
    for (const recorder of recorders) {
      recorder.end();
      traces.push(...recorder.traces);
    }
  }
  return traces.slice(0, count);
}
