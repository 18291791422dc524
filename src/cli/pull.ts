/** `sandpiper pull`: level-1 files out of the database. */
import type { Command } from "commander";
import { meanings, SandpiperError, worstExit } from "../errors.ts";
import { type Pulled, pullFiles } from "../slices/pull.ts";
import { requireSlice } from "../slices/slice-store.ts";
import { action, addCommand, type Context } from "./command.ts";

export function registerPull(program: Command, context: Context): void {
  addCommand(program, "pull [dir]", {
    summary: "write the level-1 files of the slices into a directory",
    details:
      "Each goes to DIR/SLICE/FILE, atomically; one that is there unchanged is left alone. sandpiper-manifest.json in DIR " +
      "says which file belongs to which slice. DIR is . by default, and made when missing.",
    examples: ["sandpiper pull /data/catalogues", "sandpiper pull --slice brake-pads", "sandpiper pull --json out"],
  })
    .option("--slice <slice>", "name or id of one slice; the others' files and entries stay")
    .action(
      action<{ slice?: string }, [string | undefined]>(context, (run, options, directory = ".") =>
        run.withApp(async ({ db, config }) => {
          const only = options.slice === undefined ? undefined : await requireSlice(db, options.slice);
          const results = await pullFiles(db, directory, { only, maxFileBytes: config.limits.max_grain_bytes });
          await run.output.list<Pulled>(
            [
              { key: "slice", value: (r) => r.slice.name },
              { key: "outcome", value: (r) => r.outcome },
              { key: "bytes", value: (r) => ("entry" in r ? r.entry.bytes : null) },
              { key: "file", value: (r) => ("entry" in r ? r.entry.file : null) },
            ],
            run.json ? results : results.filter((result) => result.outcome !== "skipped"),
          );
          if (only !== undefined && results[0]?.outcome === "skipped")
            run.output.note(`Slice ${only.name} holds no level-1 file: there is nothing to pull.`);
          throwFailures(results);
        }),
      ),
    );
}

/** The slices that went wrong, as one error, when there are any. */
function throwFailures(results: readonly Pulled[]): void {
  const errors = results.flatMap((result) => (result.outcome === "failed" ? [result.error] : []));
  const worst = worstExit(errors.map((error) => error.exitCode));
  const error = errors.find(({ code }) => meanings[code].exit === worst);
  if (error === undefined) return;
  if (errors.length === 1) throw error;
  throw new SandpiperError(
    error.code,
    `${errors.length} of ${results.length} slices failed, among them: ${error.message}`,
    {
      cause: error,
      hint: error.hint,
    },
  );
}
