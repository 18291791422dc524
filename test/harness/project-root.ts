/** The directory of the sources, wherever the tests were compiled to. */
import { existsSync, realpathSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

function findRoot(directory: string): string {
  const description = join(directory, "package.json");
  if (existsSync(description)) return dirname(realpathSync(description));
  if (dirname(directory) === directory) throw new Error("no package.json above the tests");
  return findRoot(dirname(directory));
}

export const projectRoot = findRoot(dirname(fileURLToPath(import.meta.url)));
