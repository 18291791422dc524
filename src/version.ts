/** Name and version of this program, from its package.json. */
import { readFileSync } from "node:fs";

function readVersion(): string {
  // src/ and dist/src/ lie at different depths.
  for (const path of ["../package.json", "../../package.json"]) {
    try {
      return (JSON.parse(readFileSync(new URL(path, import.meta.url), "utf8")) as { version: string }).version;
    } catch {}
  }
  return "0";
}

export const version = readVersion();
export const programName = `sandpiper/${version}`;
