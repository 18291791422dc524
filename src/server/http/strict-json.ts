/** JSON from outside, with everything refused that readers disagree on or that hurts later. */
import * as z from "zod";
import { SandpiperError } from "../../errors.ts";
import { countMarks } from "../../json-marks.ts";

const maxDepth = 32;
/** Of any document that names and describes something. */
const maxValues = 1000;
const forbiddenKeys = new Set(["__proto__", "constructor", "prototype"]);
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * The value of a JSON text.
 *
 * @param most how many values and members it may hold: a text of that many is no more than a moment's work, however long it is.
 * @throws `usage` for what is not UTF-8 or JSON, has a byte order mark, nests deeper than 32, names a member twice or like a
 * JavaScript internal, or holds text with NUL or half a surrogate pair, or a number that a double cannot hold; `limit` for too many values.
 */
export function parseStrictJson(bytes: Uint8Array, most = maxValues): unknown {
  const marks = countMarks(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length), {
    depth: maxDepth,
    values: most - 1, // and the whole is one, too
  });
  if (marks === "depth") throw refusal(`nests deeper than ${maxDepth}`);
  if (marks === "values") throw new SandpiperError("limit", `the JSON has more than ${most} values`);
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
  if (inspect(value) !== marks.members) throw refusal("names a member twice");
  return value;
}

const refusal = (problem: string) => new SandpiperError("usage", `the JSON ${problem}`);

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

/** A name, an address, a password: whoever takes it has a closer limit, and says it better. */
export const shortText = z.string().max(1000);

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
