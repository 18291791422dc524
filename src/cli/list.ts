/** `sandpiper list`: what the slices hold. */
import type { Command } from "commander";
import type { Database } from "../database/database.ts";
import { everything } from "../database/scope.ts";
import { SandpiperError } from "../errors.ts";
import { type GrainRow, listGrainsAfter } from "../slices/grain-store.ts";
import type { Slice } from "../slices/rules/slice.ts";
import { findSlice, listSlices, requireSlice } from "../slices/slice-store.ts";
import { action, addCommand, type Cli, type Context } from "./command.ts";
import { type Column, record } from "./output.ts";
import { printableJson } from "./printable.ts";
import { sliceColumns } from "./slice.ts";

export function registerList(program: Command, context: Context): void {
  addCommand(program, "list", {
    summary: "list slices and what they hold; with --full, their grains too",
    details: "In a pipe, --full prints only the grains, each preceded by the name of its slice.",
    examples: ["sandpiper list", "sandpiper list --slice brake-pads --full", "sandpiper list --full --json"],
  })
    .option("--slice <slice>", "name or id of one slice")
    .option("--full", "list the grains too")
    .action(
      action<{ slice?: string; full?: boolean }>(context, (cli, options) =>
        cli.withApp(async ({ db }) => {
          const slices =
            options.slice === undefined
              ? (await listSlices(db, everything)).slices
              : [await requireSlice(db, options.slice)];
          if (!options.full) return cli.output.list(sliceColumns, slices);
          await (cli.json ? fullJson(cli, db, slices) : fullText(cli, db, slices));
        }),
      ),
    );
}

const grainColumns: readonly Column<GrainRow>[] = [
  { key: "key", value: (g) => g.key },
  { key: "id", value: (g) => g.id },
  { key: "encoding", value: (g) => g.encoding },
  { key: "bytes", value: (g) => g.bytes },
  { key: "source", value: (g) => g.source },
];

/** A slice's grains, a page at a time: a slice can have millions. @throws `deferred` when they were not of one moment. */
async function* grainPages(cli: Cli, db: Database, slice: Slice): AsyncGenerator<GrainRow[]> {
  let after: string | undefined;
  let count = 0;
  while (!cli.output.closed) {
    const page = await listGrainsAfter(db, everything, slice.contentKey, after);
    if (page.length === 0) break;
    yield page;
    count += page.length;
    after = page.at(-1)!.id;
  }
  const now = await findSlice(db, everything, slice.id);
  const same = now?.hash === slice.hash && now.count === slice.count && (cli.output.closed || count === slice.count);
  if (same) return;
  throw new SandpiperError("deferred", `slice ${slice.name} was changed while it was being listed`, {
    hint: "What was printed of it may be part old and part new: list it again.",
  });
}

async function fullText(cli: Cli, db: Database, slices: readonly Slice[]): Promise<void> {
  if (cli.output.form === "table") await cli.output.rows(sliceColumns, slices);
  for (const slice of slices) {
    const columns = [{ key: "slice", value: () => slice.name }, ...grainColumns];
    for await (const page of grainPages(cli, db, slice)) {
      if (cli.output.form === "table") await cli.output.write("\n");
      await cli.output.rows(columns, page);
    }
  }
}

/** One document, put together piece by piece. */
async function fullJson(cli: Cli, db: Database, slices: readonly Slice[]): Promise<void> {
  const { output } = cli;
  let before = "[";
  for (const slice of slices) {
    await output.write(`${before}${printableJson(record(sliceColumns, slice)).slice(0, -1)},"items":[`);
    let first = true;
    for await (const page of grainPages(cli, db, slice)) {
      const items = page.map((grain) => printableJson(record(grainColumns, grain)));
      await output.write((first ? "" : ",") + items.join(","));
      first = false;
    }
    await output.write("]}");
    before = ",";
  }
  await output.write(slices.length === 0 ? "[]\n" : "]\n");
}
