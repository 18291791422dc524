/** `sandpiper slice meta`: shows or changes a slice's metadata. */
import type { Command } from "commander";
import { requireRole } from "../companies/company-store.ts";
import { SandpiperError } from "../errors.ts";
import { applyBatch } from "../slices/batch.ts";
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
      action<{ unset?: string[] }, [string, string[]]>(context, async (run, { unset = [] }, name, words) => {
        const pairs = parsePairs(words);
        const both = unset.find((key) => pairs.has(key));
        if (both !== undefined) {
          throw new SandpiperError("usage", `${JSON.stringify(both)} is both set and unset`, {
            hint: "Do one of them.",
          });
        }
        await run.withApp(async ({ db, config }) => {
          const slice = await requireSlice(db, name);
          if (pairs.size > 0 || unset.length > 0) {
            await requireRole(db, "primary", "changing metadata");
            const there = new Map(await readMetadata(db, slice.key));
            for (const key of unset) if (!there.has(key)) throw missing(slice.name, key);
            const metadata = Object.fromEntries([...pairs, ...unset.map((key) => [key, null] as const)]);
            await applyBatch(db, slice, [{ metadata }], config.limits.max_grain_bytes);
          }
          const rows = await readMetadata(db, slice.key);
          if (run.json) return run.output.json(Object.fromEntries(rows));
          await run.output.rows(
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

const missing = (slice: string, key: string) =>
  new SandpiperError("not_found", `slice ${slice} has no metadata ${JSON.stringify(key)}`, {
    hint: `\`sandpiper slice meta NAME\` shows what there is.`,
  });

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
