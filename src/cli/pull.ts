/** `sandpiper pull`: level-1 files out of the database. */
import { join } from "node:path";
import type { Command } from "commander";
import { meanings, SandpiperError, worstExit } from "../errors.ts";
import { type Pulled, pullFiles } from "../files/pull.ts";
import type { Superseded } from "../files/pull-superseded.ts";
import { requireSlice } from "../slices/slice-store.ts";
import { action, addCommand, type Context } from "./command.ts";
import { type Column, record } from "./output.ts";

export function registerPull(program: Command, context: Context): void {
  addCommand(program, "pull [dir]", {
    summary: "write the level-1 files of the slices into a directory",
    details:
      "Each file goes to DIR/SLICE/FILE, and is there complete or not at all; an unchanged file is left alone. A slice keeps its directory for good, even " +
      "if it is renamed. A file that pull wrote and that no slice has any more is removed, unless it was altered. sandpiper-manifest.json in DIR says which " +
      "file belongs to which slice. DIR is . by default, and is created if it is missing.",
    examples: ["sandpiper pull /data/catalogues", "sandpiper pull --slice brake-pads", "sandpiper pull --json out"],
  })
    .option("--slice <slice>", "name or id of one slice; the others' files and entries stay")
    .action(
      action<{ slice?: string }, [string | undefined]>(context, (cli, options, directory = ".") =>
        cli.withApp(async ({ db, config, server }) => {
          const only = options.slice === undefined ? undefined : await requireSlice(db, options.slice);
          const results = await pullFiles(db, directory, {
            only,
            maxFileBytes: config.limits.max_grain_bytes,
            serverId: server.serverId,
            onWait: (holder) =>
              cli.output.note(`Another pull into ${directory} is running (${holder}): waiting for it.`),
          });
          if (cli.json) await cli.output.json(results.map(document));
          else await cli.output.list<Row>(columns, results.flatMap(rows));
          for (const { file } of results.flatMap(({ superseded }) => superseded.filter(isAltered))) {
            cli.output.note(
              `${join(directory, file)} is superseded, but has been altered since it was written, so it stays. Move it away if you do not want it.`,
            );
          }
          if (only !== undefined && results[0]?.outcome === "skipped")
            cli.output.note(`Slice ${only.name} holds no level-1 file: there is nothing to pull.`);
          throwFailures(results);
        }),
      ),
    );
}

interface Row {
  slice: string;
  outcome: Pulled["outcome"] | Superseded["outcome"];
  bytes: number | null;
  file: string | null;
}

const columns: Column<Row>[] = [
  { key: "slice", value: (row) => row.slice },
  { key: "outcome", value: (row) => row.outcome },
  { key: "bytes", value: (row) => row.bytes },
  { key: "file", value: (row) => row.file },
];

const isAltered = ({ outcome }: Superseded): boolean => outcome === "altered";

const row = (one: Pulled): Row => ({
  slice: one.slice.name,
  outcome: one.outcome,
  bytes: "entry" in one ? one.entry.bytes : null,
  file: "entry" in one ? one.entry.file : null,
});

/** A slice that has no file, and had none, is of no interest to a person. */
const rows = (one: Pulled): Row[] => [
  ...(one.outcome === "skipped" ? [] : [row(one)]),
  ...one.superseded.map(({ file, outcome }) => ({ slice: one.slice.name, outcome, bytes: null, file })),
];

/** One element a slice, whatever became of its earlier files. */
const document = (one: Pulled) => ({
  ...record(columns, row(one)),
  removed: one.superseded.filter((old) => !isAltered(old)).map(({ file }) => file),
  altered: one.superseded.filter(isAltered).map(({ file }) => file),
});

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
