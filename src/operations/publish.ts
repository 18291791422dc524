/** Publishing a file as the content of a slice. */
import { stat } from "node:fs/promises";
import type { App } from "../app.ts";
import { SandpiperError } from "../errors.ts";
import { type Published, publishFile } from "../slices/publish-file.ts";
import type { Slice } from "../slices/rules/slice.ts";
import type { Actor } from "./actor.ts";
import { sliceFor } from "./find.ts";
import { requireRole } from "./role.ts";

/**
 * Makes a file what a slice holds, on a primary: in one transaction, in place of what it held.
 *
 * @param input.slice name or id.
 * @param input.confirm is asked before something is replaced; what it throws keeps it.
 * @throws `not_found`, `usage` for what is no file that can be read, `conflict`, `limit`, `storage`
 */
export async function publish(
  app: App,
  actor: Actor,
  input: { slice: string; file: string; confirm?: (slice: Slice) => Promise<void> },
): Promise<{ slice: Slice; published: Published }> {
  requireRole(app, "primary", "`add`");
  const slice = await sliceFor(app, actor, input.slice);
  await requireFile(input.file);
  if (slice.count > 0) await input.confirm?.(slice);
  return { slice, published: await publishFile(app.db, slice, input.file, app.config.limits.max_grain_bytes) };
}

/** A directory cannot be published, and a pipe or a device may have no end. */
async function requireFile(path: string): Promise<void> {
  const problem = await stat(path).then(
    (found) => (found.isFile() ? undefined : "it is not a regular file"),
    (error: NodeJS.ErrnoException) => (error.code === "ENOENT" ? "there is no such file" : error.message),
  );
  if (problem === undefined) return;
  throw new SandpiperError("usage", `cannot publish ${path}: ${problem}`, {
    hint: "Name a file that exists and that you may read.",
  });
}
