/** What makes a name of a company, slice, subscription or user acceptable. Pure. */
import { unfitForName } from "./characters.ts";
import { SandpiperError } from "./errors.ts";
import { isUuid } from "./ids.ts";

/** Longest name of a company, slice or subscription, in characters. */
export const maxNameLength = 200;

/** What a name is matched and kept unique by: without regard to case or to how accents are composed. */
export const nameKey = (name: string): string => name.normalize("NFC").toLowerCase();

/** Why `name` cannot be a name, or undefined if it can. */
export function nameProblem(name: string): string | undefined {
  if (name.trim() === "") return "is empty";
  if (name !== name.trim()) return "begins or ends with a space";
  if ([...name].length > maxNameLength) return `is longer than ${maxNameLength} characters`;
  if (/[\p{Cc}\p{Zl}\p{Zp}]/u.test(name)) return "has control characters";
  if (!name.isWellFormed()) return "is not valid Unicode";
  const character = unfitForName(name);
  return character === undefined ? undefined : `has the invisible character ${character}`;
}

/** @throws `usage` unless `name` can be a name; `what` says whose. */
export function checkName(what: string, name: string): string {
  const problem = nameProblem(name);
  if (problem !== undefined)
    throw new SandpiperError("usage", `the ${what}'s name ${problem}`, { hint: "Choose another name." });
  if (isUuid(name))
    throw new SandpiperError("usage", `the ${what}'s name looks like an id`, {
      hint: "Choose a name that cannot be taken for an id.",
    });
  return name;
}
