/** `sandpiper subscription`: which company gets which slice. */
import type { Command } from "commander";
import type { Subscription } from "../companies/company.ts";
import { subscribe, unsubscribe } from "../operations/subscriptions.ts";
import { listSubscriptions, requireSubscription, setSubscriptionActive } from "../subscriptions/subscription-store.ts";
import { action, addCommand, addGroup, type Context } from "./command.ts";

export function registerSubscription(program: Command, context: Context): void {
  const group = addGroup(program, "subscription", "which company gets which slice");
  registerAdd(group, context);
  registerList(group, context);
  registerSwitch(group, context, "activate", true);
  registerSwitch(group, context, "deactivate", false);
  registerRemove(group, context);
}

interface AddOptions {
  slice: string;
  company: string;
  description?: string;
}

function registerAdd(group: Command, context: Context): void {
  addCommand(group, "add <name>", {
    summary: "assign a slice to a company (on a primary)",
    details: "The company gets it with its next sync, and need not do anything for that.",
    examples: [
      "sandpiper subscription add epicor-pads --slice brake-pads --company Epicor",
      "sandpiper subscription add epicor-prices --slice prices-2026 --company Epicor --description 'net prices'",
    ],
  })
    .requiredOption("--slice <slice>", "name or id of the slice")
    .requiredOption("--company <company>", "name or id of the company")
    .option("--description <text>", "a note for people to read")
    .action(
      action<AddOptions, [string]>(context, (cli, options, name) =>
        cli.withApp(async (app) => {
          const { slice, company, description } = options;
          const added = await subscribe(app, "operator", { slice, company, name, description });
          const sentence = `${added.companyName} is subscribed to slice ${added.sliceName} as ${added.name}.`;
          await cli.output.result(sentence, document(added));
        }),
      ),
    );
}

const status = (s: Subscription) =>
  s.withdrawnAt !== null ? "withdrawn" : !s.offered ? "off at the primary" : s.active ? "active" : "not active";

function registerList(group: Command, context: Context): void {
  addCommand(group, "list", {
    summary: "list the subscriptions",
    examples: ["sandpiper subscription list", "sandpiper subscription list --json"],
  }).action(
    action(context, (cli) =>
      cli.withApp(async ({ db }) =>
        cli.output.list<Subscription>(
          [
            { key: "name", value: (s) => s.name },
            { key: "id", value: (s) => s.id },
            { key: "company", value: (s) => s.companyName },
            { key: "slice", value: (s) => s.sliceName },
            { key: "type", value: (s) => s.sliceType },
            { key: "active", value: (s) => s.active },
            { key: "status", value: status },
            { key: "description", value: (s) => s.description },
          ],
          await listSubscriptions(db),
        ),
      ),
    ),
  );
}

function registerSwitch(group: Command, context: Context, name: string, active: boolean): void {
  addCommand(group, `${name} <name>`, {
    summary: active ? "switch a subscription on, on this side" : "switch a subscription off, on this side",
    details:
      "A subscription that a primary switches off is switched off at the partner too. One that a secondary switches off " +
      "is no longer synced; the primary is not told.",
    examples: [`sandpiper subscription ${name} epicor-pads`, `sandpiper subscription ${name} epicor-pads --json`],
  }).action(
    action<object, [string]>(context, (cli, _options, nameOrId) =>
      cli.withApp(async ({ db }) => {
        const subscription = await requireSubscription(db, nameOrId);
        await setSubscriptionActive(db, subscription.key, active);
        const sentence = `Subscription ${subscription.name} is ${active ? "active" : "not active"}.`;
        await cli.output.result(sentence, document({ ...subscription, active }));
      }),
    ),
  );
}

function registerRemove(group: Command, context: Context): void {
  addCommand(group, "remove <name>", {
    summary: "remove a subscription; the slice and its data stay",
    details:
      "On a primary, the partner marks it withdrawn at its next sync and keeps its data. On a secondary, it comes back " +
      "with the next sync unless the primary has withdrawn it.",
    examples: ["sandpiper subscription remove epicor-pads", "sandpiper subscription remove epicor-pads --json"],
  }).action(
    action<object, [string]>(context, (cli, _options, nameOrId) =>
      cli.withApp(async (app) => {
        const subscription = await unsubscribe(app, "operator", nameOrId);
        await cli.output.result(`Subscription ${subscription.name} is removed.`, document(subscription));
        if (app.server.role === "secondary" && subscription.withdrawnAt === null)
          cli.output.note("The next sync adds it again as long as the primary lists it; `deactivate` keeps it off.");
      }),
    ),
  );
}

const document = (s: Subscription) => ({
  id: s.id,
  name: s.name,
  company: s.companyName,
  slice: s.sliceName,
  active: s.active,
});
