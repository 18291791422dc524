/**
 * Who may log in to the embedded PostgreSQL: rules in the data directory, written anew at each start, so that a cluster of an
 * older release has them too. They are ours to change: those in the cluster's own directory are not read.
 *
 * Its socket lies in a directory that only the server's user may enter. That is enough unless the server runs as `nobody`, whose
 * name many programs share: then root alone may log in, as PostgreSQL is told by the kernel (`peer`).
 */
import { chmod, readFile, stat } from "node:fs/promises";
import { userInfo } from "node:os";
import { join } from "node:path";
import { writeAtomically } from "../../atomic-file.ts";
import { type Account, nobody } from "./binaries.ts";
import type { Layout } from "./data-dir.ts";

/** Writes the rules. @returns the settings that a server takes them by: name and path. */
export async function writeAccessRules(
  { dataDir }: Pick<Layout, "dataDir">,
  account: Account | undefined,
): Promise<[setting: string, path: string][]> {
  const rootAlone = await isShared(dataDir, account);
  const rules = rootAlone ? "local all all peer map=sandpiper" : "local all all trust";
  const names = rootAlone ? [`sandpiper "${userInfo().username}" all`] : [];
  const files: [string, string, string[]][] = [
    ["hba_file", "postgres-hba.conf", [rules]],
    ["ident_file", "postgres-ident.conf", names],
  ];
  for (const [, name, lines] of files) await put(join(dataDir, name), lines);
  return files.map(([setting, name]) => [setting, join(dataDir, name)]);
}

/** Whether the server's user is `nobody` only because PostgreSQL does not run as root. */
async function isShared(dataDir: string, account: Account | undefined): Promise<boolean> {
  if (account?.uid !== (await nobody()).uid) return false;
  return (await stat(dataDir)).uid !== account.uid;
}

/** For the server's user to read, who may not be us, whatever the umask. There is nothing secret in it. */
async function put(path: string, lines: string[]): Promise<void> {
  const text = `# Written by sandpiper at each start of its PostgreSQL.\n${lines.map((line) => `${line}\n`).join("")}`;
  if ((await readFile(path, "utf8").catch(() => "")) !== text) await writeAtomically(path, [text]);
  await chmod(path, 0o644);
}
