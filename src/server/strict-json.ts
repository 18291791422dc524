/** JSON from outside, with everything refused that readers disagree on or that hurts later. */
import type { z } from "zod";
import { SandpiperError } from "../errors.ts";

const maxDepth = 32;
/** Of any document that names and describes something. */
const maxValues = 1000;
const forbiddenKeys = new Set(["__proto__", "constructor", "prototype"]);
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * The value of a JSON text.
 *
 * @param most how many values it may hold, and members: a text of that many is no more than a moment's work, however long it is.
 * @throws `usage` for what is not UTF-8 or JSON, has a byte order mark, nests deeper than 32, names a member twice or like a
 * JavaScript internal, or holds text with NUL or half a surrogate pair, or a number that a double cannot hold; `limit` for too many values.
 */
export function parseStrictJson(bytes: Uint8Array, most = maxValues): unknown {
  const members = scan(bytes, most);
  let text: string;
  try {
    text = decoder.decode(bytes);
  } catch {
    throw refusal("is not UTF-8");
  }
  if (text.startsWith("\ufeff")) throw refusal("begins with a byte order mark");
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw refusal("is not valid JSON");
  }
  if (inspect(value) !== members) throw refusal("names a member twice");
  return value;
}

const refusal = (problem: string) => new SandpiperError("usage", `the JSON ${problem}`);

/** Counts the members, and bounds depth and number of values before anything is built. What it looks for is ASCII, which is no part of any other character. */
function scan(text: Uint8Array, most: number): number {
  let depth = 0;
  let members = 0;
  let values = 1;
  for (let at = 0; at < text.length; at++) {
    const code = text[at];
    if (code === 0x22) at = stringEnd(text, at);
    else if (code === 0x3a) members++;
    else if (code === 0x2c) values++;
    else if (code === 0x5d || code === 0x7d) depth--;
    else if (code === 0x5b || code === 0x7b) {
      values++;
      if (++depth > maxDepth) throw refusal(`nests deeper than ${maxDepth}`);
    }
    if (values > most) throw new SandpiperError("limit", `the JSON has more than ${most} values`);
  }
  return members;
}

/** Letters of a string that are looked at one by one before the next quote is looked for in one go, which pays for long strings alone. */
const closeLook = 256;

/** Where the string ends that begins at `start`. */
function stringEnd(text: Uint8Array, start: number): number {
  for (let at = start + 1; at < text.length; at++) {
    for (const until = at + closeLook; at < until; at++) {
      if (text[at] === 0x22) return at;
      if (text[at] === 0x5c) at++;
    }
    const quote = text.indexOf(0x22, at);
    if (quote < 0) break;
    let backslashes = 0;
    while (quote - backslashes > at && text[quote - 1 - backslashes] === 0x5c) backslashes++;
    if (backslashes % 2 === 0) return quote;
    at = quote;
  }
  return text.length;
}

/** Checks every value and key, and counts the members. */
function inspect(value: unknown): number {
  if (typeof value === "string") checkText(value);
  if (typeof value === "number" && (!(Math.abs(value) <= Number.MAX_SAFE_INTEGER) || Object.is(value, -0))) {
    throw refusal("has a number that cannot be kept exactly");
  }
  if (typeof value !== "object" || value === null) return 0;
  if (Array.isArray(value)) return value.reduce<number>((sum, inner) => sum + inspect(inner), 0);
  return Object.entries(value).reduce((sum, [key, inner]) => {
    if (forbiddenKeys.has(key)) throw refusal("has a member name that is not allowed");
    checkText(key);
    return sum + 1 + inspect(inner);
  }, 0);
}

function checkText(text: string): void {
  if (text.includes("\0")) throw refusal("has a NUL character, which cannot be stored");
  if (!text.isWellFormed()) throw refusal("has half a surrogate pair");
}

/** The value as the schema has it. @throws `usage` naming the member that is wrong. */
export function checkShape<T>(schema: z.ZodType<T>, value: unknown, what: string): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issue = deepest(result.error.issues);
  const where = issue.path.length === 0 ? what : issue.path.map(String).join(".").slice(0, 100);
  throw new SandpiperError("usage", `${where}: ${issue.message.slice(0, 200)}`);
}

type Issue = z.core.$ZodIssue;

/** Of a union, the alternative whose members the value has says best what is wrong. */
function deepest(issues: readonly Issue[]): Issue {
  const issue = issues[0]!;
  if (issue.code !== "invalid_union") return issue;
  const meant = issue.errors.find((branch) => branch.every((inner) => inner.path.length > 0 && known(inner)));
  if (meant === undefined) return issue;
  const inner = deepest(meant);
  return { ...inner, path: [...issue.path, ...inner.path] };
}

const known = (issue: Issue) => issue.path.length > 1 || issue.code !== "unrecognized_keys";
