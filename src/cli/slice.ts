/** `sandpiper slice`: the sets of data that partners can subscribe to. */
import type { Command } from "commander";
import { everything } from "../database/scope.ts";
import { SandpiperError } from "../errors.ts";
import { type Affected, createSlice, deleteSlice, lockSlice, recountSlice } from "../operations/slices.ts";
import { sortMetadata } from "../slices/rules/hash.ts";
import { type Slice, sliceTypes } from "../slices/rules/slice.ts";
import { listSlices } from "../slices/slice-store.ts";
import { action, addCommand, addGroup, type Cli, type Context, collect } from "./command.ts";
import type { Column } from "./output.ts";
import { parsePairs, registerSliceMeta } from "./slice-meta.ts";

export function registerSlice(program: Command, context: Context): void {
  const group = addGroup(program, "slice", "sets of data that partners subscribe to");
  registerAdd(group, context);
  registerList(group, context);
  registerLock(group, context, "lock", true);
  registerLock(group, context, "unlock", false);
  registerSliceMeta(group, context);
  registerRefresh(group, context);
  registerRemove(group, context);
}

/** How a slice is shown in lists. */
export const sliceColumns: readonly Column<Slice>[] = [
  { key: "name", value: (s) => s.name },
  { key: "id", value: (s) => s.id },
  { key: "type", value: (s) => s.type },
  { key: "grains", value: (s) => s.count },
  { key: "bytes", value: (s) => s.bytes },
  { key: "date", value: (s) => s.contentDate },
  { key: "hash", value: (s) => s.hash },
  { key: "locked", value: (s) => !s.allowSync },
];

function registerAdd(group: Command, context: Context): void {
  addCommand(group, "add <name>", {
    summary: "add an empty slice (on a primary)",
    details: `Types: ${sliceTypes.join(", ")}.`,
    examples: [
      "sandpiper slice add brake-pads --type aces-file",
      "sandpiper slice add prices-2026 --type pies-pricesheet --meta currency=USD --meta effective=2026-01-01",
    ],
  })
    .requiredOption("--type <type>", "what it holds")
    .option("--meta <key=value>", "metadata that travels with it; may be repeated", collect)
    .action(
      action<{ type: string; meta?: string[] }, [string]>(context, async (cli, options, name) => {
        const metadata = sortMetadata(parsePairs(options.meta ?? []));
        await cli.withApp(async (app) => {
          const slice = await createSlice(app, { name, type: options.type, metadata });
          await cli.output.result(`Slice ${slice.name} (id ${slice.id}) is added.`, {
            id: slice.id,
            name: slice.name,
            type: slice.type,
            metadata: Object.fromEntries(metadata),
          });
        });
      }),
    );
}

function registerList(group: Command, context: Context): void {
  addCommand(group, "list", {
    summary: "list the slices",
    examples: ["sandpiper slice list", "sandpiper slice list --json"],
  }).action(
    action(context, (cli) =>
      cli.withApp(async ({ db }) => cli.output.list(sliceColumns, (await listSlices(db, everything)).slices)),
    ),
  );
}

function registerLock(group: Command, context: Context, name: string, locked: boolean): void {
  addCommand(group, `${name} <name>`, {
    summary: locked
      ? "keep partners from syncing a slice (on a primary)"
      : "let partners sync a slice again (on a primary)",
    details: "A sync of a locked slice is deferred: the partner keeps what it has, whole.",
    examples: [`sandpiper slice ${name} brake-pads`, `sandpiper slice ${name} brake-pads --json`],
  }).action(
    action<object, [string]>(context, (cli, _options, nameOrId) =>
      cli.withApp(async (app) => {
        const slice = await lockSlice(app, "operator", nameOrId, locked);
        await cli.output.result(`Slice ${slice.name} is ${locked ? "locked against" : "open to"} syncs.`, {
          id: slice.id,
          name: slice.name,
          locked,
        });
      }),
    ),
  );
}

function registerRefresh(group: Command, context: Context): void {
  addCommand(group, "refresh <name>", {
    summary: "count a slice anew from what is stored (on a primary)",
    details:
      "Hash, count and sketch change with every grain that is added or removed. They are what the grains come to, unless the " +
      "database was damaged or changed by hand; then this puts them right, and partners get the slice as it is with their next sync.",
    examples: ["sandpiper slice refresh brake-pads", "sandpiper slice refresh brake-pads --json"],
  }).action(
    action<object, [string]>(context, (cli, _options, nameOrId) =>
      cli.withApp(async (app) => {
        const { slice, wasRight } = await recountSlice(app, "operator", nameOrId);
        const { id, name, count, bytes, hash } = slice;
        await cli.output.result(
          `Slice ${name} has ${count} grains (hash ${hash}): ${wasRight ? "as it was" : "that was not what was noted, and is put right"}.`,
          { id, name, grains: count, bytes, hash, was_right: wasRight },
        );
      }),
    ),
  );
}

function registerRemove(group: Command, context: Context): void {
  addCommand(group, "remove <name>", {
    summary: "remove a slice with its grains and subscriptions",
    details:
      "Names the companies that are subscribed to it, and asks for confirmation. On a secondary, the next sync fetches it again " +
      "unless the primary has withdrawn it; to prevent that, use `sandpiper subscription deactivate` instead.",
    examples: ["sandpiper slice remove old-prices", "sandpiper slice remove old-prices --noprompt"],
  })
    .option("--noprompt", "remove it without asking, whoever is affected")
    .action(
      action<{ noprompt?: boolean }, [string]>(context, (cli, options, nameOrId) =>
        cli.withApp(async (app) => {
          const confirm = options.noprompt ? undefined : (affected: Affected) => confirmRemoving(cli, affected);
          const removed = await deleteSlice(app, "operator", nameOrId, confirm);
          const { slice, companies } = removed;
          const document = { id: slice.id, name: slice.name, grains: slice.count, companies };
          await cli.output.result(`Removed ${described(removed)}.`, document);
        }),
      ),
    );
}

function described({ slice, companies }: Affected): string {
  const whom = companies.length === 0 ? "nobody is subscribed to it" : `subscribed: ${companies.join(", ")}`;
  return `slice ${slice.name} with ${slice.count} grains (${whom})`;
}

async function confirmRemoving(cli: Cli, affected: Affected): Promise<void> {
  if (cli.prompt.available) await cli.prompt.confirm(`Remove ${described(affected)}?`);
  else if (affected.companies.length > 0) {
    throw new SandpiperError("usage", `removing ${described(affected)} needs a confirmation`, {
      hint: "Run it again with --noprompt, or on a terminal.",
    });
  }
}
