/** `sandpiper slice meta`: shows or changes a slice's metadata. */
import type { Command } from "commander";
import { SandpiperError } from "../errors.ts";
import { editMetadata } from "../operations/slice-metadata.ts";
import { readMetadata, requireSlice } from "../slices/slice-store.ts";
import { action, addCommand, type Context, collect } from "./command.ts";

export function registerSliceMeta(group: Command, context: Context): void {
  addCommand(group, "meta <name> [pairs...]", {
    summary: "show a slice's metadata, or change it (on a primary)",
    details: "Pairs are key=value. Metadata is part of the slice's hash: partners get a change with their next sync.",
    examples: [
      "sandpiper slice meta brake-pads",
      "sandpiper slice meta brake-pads vcdb=2026-01-30 region=US",
      "sandpiper slice meta brake-pads --unset region",
    ],
  })
    .option("--unset <key>", "remove a key; may be repeated", collect)
    .action(
      action<{ unset?: string[] }, [string, string[]]>(context, async (cli, { unset = [] }, name, words) => {
        const edits = new Map<string, string | null>(parsePairs(words));
        for (const key of unset) {
          if (typeof edits.get(key) === "string") {
            throw new SandpiperError("usage", `${JSON.stringify(key)} is both set and unset`, {
              hint: "Do one of them.",
            });
          }
          edits.set(key, null);
        }
        await cli.withApp(async (app) => {
          const rows =
            edits.size > 0
              ? await editMetadata(app, "operator", name, edits)
              : await readMetadata(app.db, (await requireSlice(app.db, name)).key);
          if (cli.json) return cli.output.json(Object.fromEntries(rows));
          await cli.output.rows(
            [
              { key: "key", value: ([key]) => key },
              { key: "value", value: ([, value]) => value },
            ],
            rows,
          );
        });
      }),
    );
}

/** `key=value` words as a map. @throws `usage` for a word without `=`, an empty key, or a key given twice. */
export function parsePairs(words: readonly string[]): Map<string, string> {
  const pairs = new Map<string, string>();
  for (const word of words) {
    const at = word.indexOf("=");
    if (at < 1) {
      throw new SandpiperError("usage", `${JSON.stringify(word)} is not key=value`, { hint: "For example region=US." });
    }
    const key = word.slice(0, at);
    if (pairs.has(key)) {
      throw new SandpiperError("usage", `${JSON.stringify(key)} is given twice`, { hint: "Give each key once." });
    }
    pairs.set(key, word.slice(at + 1));
  }
  return pairs;
}
