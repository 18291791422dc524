/** Text from peers, made fit to be shown: a name must not move the cursor, colour the screen or forge a line. Pure. */

// C0, DEL, C1, line and paragraph separators, and the marks that reverse the direction of text.
// biome-ignore lint/suspicious/noControlCharactersInRegex: finding them is the point
const control = /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

/** The text on one line, with U+FFFD for every control character. */
export const printable = (text: string): string => text.toWellFormed().replace(control, "\ufffd");

/** A message that may have several lines, on one. */
export const oneLine = (text: string): string => printable(text.trim().replace(/\s*\n\s*/g, " "));

/** JSON on one line, with escapes for the control characters that JSON leaves raw. They occur in strings only. */
export const printableJson = (value: unknown): string =>
  JSON.stringify(value).replace(control, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);

/** A word for a POSIX shell, quoted only where needed. */
export const shellWord = (text: string): string =>
  /^[A-Za-z0-9_@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
