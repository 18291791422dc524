/** In which order slices are pulled. Pure. */

import type { CompanyId } from "../../ids.ts";
import type { Slice } from "../../slices/rules/slice.ts";
import { grouped } from "./grouped.ts";

/**
 * The slices company by company in turns: the one is next whose files took the fewest bytes so far, so that none fills the disk before the
 * others have had as much.
 *
 * @param taken asked before each turn: bytes that the files of a company took.
 */
export function* inTurns(slices: readonly Slice[], taken: (companyId: CompanyId) => number): Generator<Slice> {
  const waiting = grouped(slices, ({ companyId }) => companyId);
  for (const own of waiting.values()) own.reverse();
  while (waiting.size > 0) {
    const [next, ...others] = waiting.keys();
    const company = others.reduce((least, other) => (taken(other) < taken(least) ? other : least), next!);
    const own = waiting.get(company)!;
    yield own.pop()!;
    if (own.length === 0) waiting.delete(company);
  }
}
