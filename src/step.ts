/**
 * Named steps. Product code says where it is; nobody listens in production, and a test that does can
 * kill the process at an exact place (test/harness/failpoint.ts).
 */
import { channel } from "node:diagnostics_channel";

const steps = channel("sandpiper:step");
const counts = new Map<string, number>();

/** Says that the step `name` is reached, for the n-th time in this process (counted from 1). */
export function step(name: StepName): void {
  if (!steps.hasSubscribers) return;
  const n = (counts.get(name) ?? 0) + 1;
  counts.set(name, n);
  steps.publish({ name, n });
}

/** Every step, so that a test can visit all of them. `s.` secondary, `p.` primary, `l.` loading a slice, `f.` its files, `m.` maintenance. */
export const stepNames = [
  "s.start",
  "s.token",
  "s.subs",
  "s.begin",
  "s.compared",
  "s.list",
  "s.stage",
  "s.tx.begin",
  "s.tx.delete",
  "s.tx.insert",
  "s.tx.verify",
  "s.tx.commit",
  "s.tx.committed",
  "s.confirm",
  "s.next",
  "p.login",
  "p.subs",
  "p.begin",
  "p.compare",
  "p.list",
  "p.cells",
  "p.grains",
  "p.end",
  "p.confirm",
  "l.begin",
  "l.delete",
  "l.add",
  "l.refresh",
  "l.commit",
  "f.begin",
  "f.write",
  "f.place",
  "f.written",
  "f.manifest",
  "f.remove",
  "f.end",
  "m.vacuum",
  "m.vacuumed",
] as const;

export type StepName = (typeof stepNames)[number];
