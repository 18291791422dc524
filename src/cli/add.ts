/** `sandpiper add`: publishes a file. */
import { stat } from "node:fs/promises";
import type { Command } from "commander";
import { requireRole } from "../companies/company-store.ts";
import { SandpiperError } from "../errors.ts";
import { publishFile } from "../slices/publish.ts";
import { requireSlice } from "../slices/slice-store.ts";
import { action, addCommand, type Context } from "./command.ts";

export function registerAdd(program: Command, context: Context): void {
  addCommand(program, "add <file>", {
    summary: "publish a file as the content of a slice (on a primary)",
    details:
      "The file replaces the slice's previous one in one transaction. If the name and the bytes are the same, nothing is " +
      "published. On a terminal it asks before it replaces anything.",
    examples: [
      "sandpiper add --slice brake-pads ABC_ACES_4_2_FULL_2026-01-30.xml",
      "sandpiper add --slice brake-pads --noprompt /data/export/aces.xml",
    ],
  })
    .requiredOption("--slice <slice>", "name or id of the slice")
    .option("--noprompt", "replace without asking")
    .action(
      action<{ slice: string; noprompt?: boolean }, [string]>(context, (run, options, file) =>
        run.withApp(async ({ db, config }) => {
          await requireRole(db, "primary", "`add`");
          const slice = await requireSlice(db, options.slice);
          await requireFile(file);
          if (slice.count > 0 && !options.noprompt && run.prompt.available) {
            const since = slice.contentDate?.toISOString().slice(0, 16).replace("T", " ");
            await run.prompt.confirm(`Replace what slice ${slice.name} holds${since ? ` since ${since} UTC` : ""}?`);
          }
          const done = await publishFile(db, slice, file, config.limits.max_grain_bytes);
          const sizes = `${done.fileBytes} bytes, ${done.storedBytes} compressed`;
          const renamed = done.replaced !== undefined && done.replaced !== done.source;
          const sentence = done.changed
            ? `Published ${file} in slice ${slice.name}${renamed ? `, in place of ${done.replaced}` : ""} (${sizes}).`
            : `Nothing to publish: slice ${slice.name} holds exactly this file already.`;
          await run.output.result(sentence, {
            slice: slice.name,
            slice_id: slice.id,
            changed: done.changed,
            grain_id: done.grainId,
            source: done.source,
            replaced: done.changed ? (done.replaced ?? null) : null,
            bytes: done.fileBytes,
            stored_bytes: done.storedBytes,
            hash: done.hash,
          });
          if (!slice.allowSync)
            run.output.note(`The slice is locked: partners get it after \`sandpiper slice unlock ${slice.name}\`.`);
        }),
      ),
    );
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
