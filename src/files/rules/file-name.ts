/** File names from names that a peer chose: fit for every file system, and never a way out of a directory. Pure. */
import { unseen } from "../../characters.ts";

/** Longest name of a file or directory that we make, in UTF-8 bytes; every file system takes 255. */
export const maxFileNameBytes = 200;

const forbidden = new RegExp(String.raw`[${unseen}/\\:*?"<>|]`, "gu");

/** Windows takes these for devices, with any extension. */
const device = /^(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9\u00b9\u00b2\u00b3])\s*(\.|$)/i;

/** `text` as the name of a file or directory; `fallback` (an id) when nothing usable is left. */
export function safeFileName(text: string, fallback: string): string {
  const shown = strip(text.toWellFormed().replace(forbidden, "_"));
  const name = clip(shown, maxFileNameBytes);
  if (name === "") return fallback;
  return device.test(name) ? clip(`_${name}`, maxFileNameBytes) : name;
}

/** What follows the last separator, of either kind, in the path that a grain's source may be. */
export const lastSegment = (path: string): string => path.split(/[/\\]/).at(-1)!;

/** `name` with `-suffix` behind it, within the limit. */
export const withSuffix = (name: string, suffix: string): string =>
  `${clip(name, maxFileNameBytes - Buffer.byteLength(suffix) - 1)}-${suffix}`;

/** What two names have in common when a file system that ignores case or composition takes one for the other. */
export const fileNameKey = (name: string): string => name.normalize("NFC").toUpperCase().toLowerCase().normalize("NFC");

/** Leading and trailing dots and blanks: hidden files, `..`, and what Windows drops silently. */
const strip = (text: string): string => text.replace(/^[\s.]+|[\s.]+$/gu, "");

/** Cut to `bytes` of UTF-8, between code points, keeping a short extension. */
function clip(text: string, bytes: number): string {
  if (Buffer.byteLength(text) <= bytes) return text;
  const extension = /\.[A-Za-z0-9]{1,10}$/.exec(text)?.[0] ?? "";
  let left = bytes - extension.length;
  let kept = "";
  for (const character of text.slice(0, text.length - extension.length)) {
    left -= Buffer.byteLength(character);
    if (left < 0) break;
    kept += character;
  }
  return strip(kept) + extension;
}
