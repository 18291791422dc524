/** What describes a subscription, for people. Pure. */
import { SandpiperError } from "../../errors.ts";

/** Longest description of a subscription, in UTF-16 units: a secondary takes no longer one from its primary. */
export const maxDescriptionLength = 10_000;

/** @throws `usage` for a description that no secondary would take, or that cannot be stored. */
export function checkDescription(description: string): void {
  if (description.length <= maxDescriptionLength && !description.includes("\0")) return;
  throw new SandpiperError("usage", "the description has more than 10,000 characters, or a NUL", {
    hint: "Shorten it.",
  });
}
