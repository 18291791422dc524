/**
 * Characters that are invisible, or that rearrange the text around them, by Unicode's tables. They are never printed as they are: a
 * name must not move the cursor, colour the screen, forge a line or pass for another. Pure.
 */

/**
 * For a class of a regular expression with the flag u: general category C (control, format with all that is bidirectional,
 * private, unassigned, unpaired), line and paragraph separators, and whatever else is drawn as nothing.
 */
export const unseen = String.raw`\p{C}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}`;
const anyUnseen = new RegExp(`[${unseen}]`, "gu");

/** The text with an escape (`\u202e`, `\u{e0041}`) for each of them. */
export const escapeUnseen = (text: string): string =>
  text.replace(anyUnseen, (character) => (character.length === 1 ? unit(character) : `\\u{${hex(character)}}`));

/** JSON with escapes for them. They occur in strings only, so that it stays the same value. */
export const escapeUnseenInJson = (json: string): string =>
  json.replace(anyUnseen, (character) => character.split("").map(unit).join(""));

/**
 * What a name may not have: all of them, and blanks that look like the plain one. Two of them are written in some scripts, to join
 * and to part letters (Persian, Hindi); none of these has capitals, and between letters without capitals they may stand.
 */
const unfit = new RegExp(
  String.raw`(?<![\p{Lo}\p{M}])\p{Join_Control}|\p{Join_Control}(?!\p{Lo})|(?!\p{Join_Control})[${unseen}]|(?! )\p{Zs}`,
  "gu",
);

/** The first character that a name may not have, as `U+200B`; undefined without one. */
export function unfitForName(name: string): string | undefined {
  const character = name.match(unfit)?.[0];
  return character === undefined ? undefined : `U+${hex(character).toUpperCase()}`;
}

/** The name with `_` for each character that it may not have. */
export const fitForName = (name: string): string => name.replace(unfit, "_");

const hex = (character: string): string => character.codePointAt(0)!.toString(16).padStart(4, "0");
const unit = (character: string): string => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
