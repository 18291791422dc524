/** Text from peers, made fit to be shown on a terminal or in a line of a log. Pure. */
import { escapeUnseen, escapeUnseenInJson } from "../characters.ts";

/** A message that may have several lines, on one. */
export const oneLine = (text: string): string => escapeUnseen(text.trim().replace(/\s*\n\s*/g, " "));

/** JSON on one line; what nobody sees is escaped. */
export const printableJson = (value: unknown): string => escapeUnseenInJson(JSON.stringify(value));

/** A word for a POSIX shell, quoted only where needed. */
export const shellWord = (text: string): string =>
  /^[A-Za-z0-9_@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
