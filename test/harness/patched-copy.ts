/** A copy of the compiled program with a fault planted in it, to be run instead of it. */
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { projectRoot } from "./project-root.ts";

export interface PatchedCopy {
  /** Looks like the project: dist/, db/, package.json and node_modules are in it. */
  directory: string;
  remove(): void;
}

/** @param edits by file (as `src/sync/secondary/apply.js`), what becomes of its text. @throws when an edit changes nothing. */
export function patchedCopy(edits: Readonly<Record<string, (text: string) => string>>): PatchedCopy {
  const directory = mkdtempSync(join(tmpdir(), "sp-patched-"));
  const remove = () => rmSync(directory, { recursive: true, force: true });
  try {
    cpSync(join(projectRoot, "dist"), join(directory, "dist"), { recursive: true });
    for (const name of ["node_modules", "db", "package.json"])
      symlinkSync(join(projectRoot, name), join(directory, name));
    for (const [file, edit] of Object.entries(edits)) {
      const path = join(directory, "dist", file);
      const before = readFileSync(path, "utf8");
      const after = edit(before);
      if (after === before) throw new Error(`nothing to change in ${file}`);
      writeFileSync(path, after);
    }
  } catch (error) {
    remove();
    throw error;
  }
  return { directory, remove };
}
