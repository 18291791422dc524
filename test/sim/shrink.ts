/** Makes a plan that fails as small as it can be and still fail. */
import type { Plan } from "./plan.ts";

/** @param fails runs a plan. @param most runs. */
export async function shrink(plan: Plan, fails: (plan: Plan) => Promise<boolean>, most = 400): Promise<Plan> {
  let best = plan;
  let runs = 0;
  const better = async (candidate: Plan): Promise<boolean> => {
    if (runs++ >= most || !(await fails(candidate))) return false;
    best = candidate;
    return true;
  };
  // Actions first, in large pieces, then in smaller ones.
  for (let size = Math.ceil(best.actions.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let at = 0; at < best.actions.length; ) {
      const actions = [...best.actions.slice(0, at), ...best.actions.slice(at + size)];
      if (!(await better({ ...best, actions }))) at += size;
    }
  }
  const simpler: ((plan: Plan) => Plan | undefined)[] = [
    (p) => (p.secondaries.length > 1 ? { ...p, secondaries: p.secondaries.slice(0, -1) } : undefined),
    (p) =>
      p.primaries.length > 1
        ? {
            ...p,
            primaries: p.primaries.slice(0, -1),
            secondaries: p.secondaries.map((slices) => slices.slice(0, p.primaries.length - 1)),
          }
        : undefined,
    (p) => (p.sameIds ? { ...p, sameIds: false } : undefined),
    (p) => (p.tokenMs < 60_000 ? { ...p, tokenMs: 60_000 } : undefined),
  ];
  for (const simplify of simpler) {
    for (let next = simplify(best); next !== undefined && (await better(next)); next = simplify(best));
  }
  return best;
}
