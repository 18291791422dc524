/** A configuration file that holds secrets may be read only by its owner, as sshd demands of keys. */
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
  throw new SandpiperError("config", `others may read ${file}, which holds ${where}`, {
    hint: `Run chmod 600 ${file}. If others use this machine, replace the secrets too.`,
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
