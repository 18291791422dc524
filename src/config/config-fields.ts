/** The kinds of values that a configuration has. */
import { isIP } from "node:net";
import * as z from "zod";

/** A whole number in plain digits, from a file or as text from a flag or the environment. */
export const wholeNumber = (min: number, max: number) =>
  z.union([z.number(), z.string()]).transform((value, context) => {
    const number = typeof value === "number" ? value : /^\d{1,15}$/.test(value) ? Number(value) : Number.NaN;
    if (Number.isSafeInteger(number) && number >= min && number <= max) return number;
    context.addIssue({ code: "custom", message: `must be a whole number from ${min} to ${max}` });
    return z.NEVER;
  });

/** yes or no, as YAML or as text. */
export const yesOrNo = z
  .union([z.boolean(), z.enum(["true", "false"])], "must be true or false")
  .transform((value) => value === true || value === "true");

/** A list, or text with commas. */
const list = z
  .union([z.array(z.string()), z.string()])
  .transform((value) =>
    (typeof value === "string" ? value.split(",") : value).map((entry) => entry.trim()).filter((entry) => entry !== ""),
  );

export const networks = list.refine(
  (entries) => entries.every(isNetwork),
  "must be a list of IP addresses and networks such as 10.0.0.0/8",
);

export const hostNames = list
  .transform((entries) => entries.map((entry) => entry.toLowerCase()))
  .refine(
    (entries) => entries.every((entry) => /^[a-z0-9_-]+(\.[a-z0-9_-]+)*$/.test(entry)),
    "must be a list of names such as sandpiper.example.com, without ports",
  );

function isNetwork(entry: string): boolean {
  const [address = "", prefix, ...rest] = entry.split("/");
  const bits = isIP(address) === 6 ? 128 : 32;
  return (
    isIP(address) !== 0 &&
    !address.includes("%") &&
    rest.length === 0 &&
    (prefix === undefined || (/^\d{1,3}$/.test(prefix) && Number(prefix) <= bits))
  );
}

/** 32 random bytes. */
export const secret = z
  .string()
  .regex(
    /^[A-Za-z0-9_-]{43}$/,
    "must be 32 random bytes in base64url (43 characters), as `sandpiper init` writes them",
  );
