/** Whether a difference that was found may be applied. Pure. */
import { SandpiperError } from "../../errors.ts";
import type { Found } from "./find-difference.ts";
import { refuse, refused } from "./guards.ts";
import type { LocalSlice, SecondaryFacts } from "./secondary-port.ts";

/**
 * @returns the error when what is to be added and removed does not add up to the content that the primary declared.
 * @throws `limit` when so much would be lost that an operator must allow it.
 */
export function checkDifference(
  facts: SecondaryFacts,
  slice: LocalSlice,
  { content }: Found,
  counts: { added: number; removed: number },
): SandpiperError | undefined {
  if (slice.count - counts.removed + counts.added !== content.count) {
    return refused(
      "list.number",
      new SandpiperError(
        "verification",
        `the primary says that slice ${slice.name} has ${content.count} grains, and lists another number`,
        {
          hint: "Nothing was changed. The primary's operator should refresh the slice.",
        },
      ),
    );
  }
  if (isDrop(slice.count, content.count) && !facts.options.allowDrops) {
    refuse(
      "content.drop",
      new SandpiperError("limit", `slice ${slice.name} would go from ${slice.count} grains to ${content.count}`, {
        hint: "Nothing was changed. Ask the primary whether that is right; if so, run once with --allow-drops.",
      }),
    );
  }
  return undefined;
}

/**
 * Whether applying would lose so much that an operator must allow it: a slice that held grains would be empty, or one of more
 * than 100 would shrink by more than half. Replacing grains is no loss.
 */
function isDrop(before: number, after: number): boolean {
  if (before === 0) return false;
  return after === 0 || (before > 100 && (before - after) * 2 > before);
}
