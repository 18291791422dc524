/** The version of this program, from its package.json. */
import { readFileSync } from "node:fs";

/** For example `0.1.0`. */
export function programVersion(): string {
  // The same relative place from src/cli/ and from dist/src/cli/.
  for (const path of ["../../package.json", "../../../package.json"]) {
    try {
      const { name, version } = JSON.parse(readFileSync(new URL(path, import.meta.url), "utf8"));
      if (name === "sandpiper") return version;
    } catch {
      // Not here: the next one.
    }
  }
  return "unknown";
}
