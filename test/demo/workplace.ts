/** Where the demo works: a fresh directory, in which each company has one of its own; all of it is removed at the end. */
import { chmod, mkdir, mkdtemp, realpath, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { removeScratch } from "../harness/scratch.ts";

export interface Workplace {
  root: string;
  primary: string;
  secondary: string;
  /** Ends the PostgreSQL that a killed command may have left there, and removes the directory. */
  remove(): Promise<void>;
}

export async function makeWorkplace(): Promise<Workplace> {
  const asRoot = process.getuid?.() === 0;
  // As root, PostgreSQL runs as `nobody`, who must be able to pass, not to list.
  const mode = asRoot ? 0o711 : 0o700;
  const root = await mkdtemp(join(await parentDirectory(asRoot), "sp-demo-"));
  await chmod(root, mode);
  const make = async (name: string) => {
    const directory = join(root, name);
    await mkdir(directory);
    await chmod(directory, mode); // whatever the umask
    return directory;
  };
  return {
    root,
    primary: await make("primary"),
    secondary: await make("secondary"),
    remove: () => removeScratch(root),
  };
}

/** The system's temporary directory, unless PostgreSQL cannot get there, or its socket's path would be too long. */
async function parentDirectory(asRoot: boolean): Promise<string> {
  const chosen = await realpath(tmpdir()).catch(() => "/tmp");
  if (chosen.length > 40) return "/tmp";
  for (let at = chosen; asRoot; at = dirname(at)) {
    if (((await stat(at)).mode & 0o001) === 0) return "/tmp";
    if (at === dirname(at)) break;
  }
  return chosen;
}
