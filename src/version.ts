/** Where this program is installed, and its name and version, from its package.json. */
import { existsSync, readFileSync } from "node:fs";

/** The directory of package.json and db/, as a URL with a slash at its end: src/ and dist/src/ lie at different depths. */
export const programRoot = ["../", "../../"]
  .map((path) => new URL(path, import.meta.url))
  .find((root) => existsSync(new URL("package.json", root)))!;

export const { version } = JSON.parse(readFileSync(new URL("package.json", programRoot), "utf8")) as {
  version: string;
};
export const programName = `sandpiper/${version}`;
