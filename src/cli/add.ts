/** `sandpiper add`: publishes a file. */
import type { Command } from "commander";
import { publish } from "../operations/publish.ts";
import type { Slice } from "../slices/rules/slice.ts";
import { action, addCommand, type Cli, type Context } from "./command.ts";

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
      action<{ slice: string; noprompt?: boolean }, [string]>(context, (cli, options, file) =>
        cli.withApp(async (app) => {
          const confirm = options.noprompt ? undefined : (slice: Slice) => confirmReplacing(cli, slice);
          const { slice, published: done } = await publish(app, "operator", { slice: options.slice, file, confirm });
          const sizes = `${done.fileBytes} bytes, ${done.storedBytes} compressed`;
          const renamed = done.replaced !== undefined && done.replaced !== done.source;
          const sentence = done.changed
            ? `Published ${file} in slice ${slice.name}${renamed ? `, in place of ${done.replaced}` : ""} (${sizes}).`
            : `Nothing to publish: slice ${slice.name} holds exactly this file already.`;
          await cli.output.result(sentence, {
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
            cli.output.note(`The slice is locked: partners get it after \`sandpiper slice unlock ${slice.name}\`.`);
        }),
      ),
    );
}

/** Asks on a terminal; elsewhere nobody is asked. */
async function confirmReplacing(cli: Cli, { name, contentDate }: Slice): Promise<void> {
  if (!cli.prompt.available) return;
  const since = contentDate?.toISOString().slice(0, 16).replace("T", " ");
  await cli.prompt.confirm(`Replace what slice ${name} ${since ? `has held since ${since} UTC` : "holds"}?`);
}
