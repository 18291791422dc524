/** A configuration file that holds secrets is for its owner's eyes, as sshd has it for keys. */
import { statSync } from "node:fs";
import { SandpiperError } from "../errors.ts";

const [anybodyElse, others] = [0o077, 0o007];

/**
 * @param values what the file says.
 * @throws `config` when it holds a secret, and others may read it. The group of a file may that was given to us by somebody else.
 */
export function requirePrivate(file: string, values: Record<string, unknown>): void {
  const where = secretIn(values);
  if (where === undefined || process.getuid === undefined) return;
  const { mode, uid } = statSync(file);
  if ((mode & (uid === process.getuid() ? anybodyElse : others)) === 0) return;
  throw new SandpiperError("config", `others may read ${file}, and ${where} is in it`, {
    hint: `chmod 600 ${file}, and if others are on this machine, use new secrets.`,
  });
}

/** The key of a secret, if there is one. */
function secretIn({ secrets, database }: Record<string, unknown>): string | undefined {
  for (const [name, value] of Object.entries(secrets ?? {})) if (typeof value === "string") return `secrets.${name}`;
  const { url } = (database ?? {}) as { url?: unknown };
  return typeof url === "string" && /:\/\/[^/@]*:[^/@]|[?&](ssl)?password=/.test(url)
    ? "the password of database.url"
    : undefined;
}
