/** `sandpiper company`: trading partners, and ourselves. */
import type { Command } from "commander";
import type { App } from "../app.ts";
import type { Company } from "../companies/company.ts";
import { listCompanies } from "../companies/company-store.ts";
import { SandpiperError } from "../errors.ts";
import { editCompany } from "../operations/edit-company.ts";
import { rekeyPartner } from "../operations/register-partner.ts";
import { rekeyPrimary } from "../operations/register-primary.ts";
import { readApiKey } from "./api-key-input.ts";
import { action, addCommand, addGroup, type Cli, type Context } from "./command.ts";
import { noteOtherId, registerCompanyAdd, showApiKey } from "./company-add.ts";
import { listStatus } from "./company-status.ts";

export function registerCompany(program: Command, context: Context): void {
  const group = addGroup(program, "company", "trading partners and their API keys");
  registerCompanyAdd(group, context);
  addCommand(group, "list", {
    summary: "list the companies on file, our own included",
    details:
      "With --status, shows what each partner holds and how its syncs went, those in trouble first. On a secondary, shows how the syncs with each primary went.",
    examples: ["sandpiper company list", "sandpiper company list --json", "sandpiper company list --status"],
  })
    .option("--status", "how far each partner has got, those in trouble first")
    .action(
      action<{ status?: boolean }>(context, (cli, options) =>
        cli.withApp(async ({ db, server }) => {
          if (options.status) return listStatus(cli, db, server.role);
          const kind = (company: Company) =>
            company.id === server.serverId ? "ourselves" : server.role === "primary" ? "partner" : "primary";
          await cli.output.list<Company>(
            [
              { key: "name", value: (c) => c.name },
              { key: "id", value: (c) => c.id },
              { key: "kind", value: kind },
              { key: "active", value: (c) => c.active },
              { key: "sync_addr", value: (c) => c.syncAddr },
            ],
            await listCompanies(db),
          );
        }),
      ),
    );
  registerSwitch(group, context, "activate", true);
  registerSwitch(group, context, "deactivate", false);
  registerRekey(group, context);
}

function registerSwitch(group: Command, context: Context, name: string, active: boolean): void {
  addCommand(group, `${name} <name>`, {
    summary: active ? "let a company sync again" : "stop all syncs with a company",
    details: "This changes our side only; the other side notices at its next sync.",
    examples: [`sandpiper company ${name} Epicor`, `sandpiper company ${name} 2f1c8d9e-7b1a-4c55-9a40-0d6a3c1b2e77`],
  }).action(
    action<object, [string]>(context, (cli, _options, nameOrId) =>
      cli.withApp(async (app) => {
        const company = await editCompany(app, "operator", nameOrId, { active });
        await cli.output.result(`${company.name} is ${active ? "active" : "not active"}.`, {
          ...brief(company),
          active,
        });
      }),
    ),
  );
}

interface RekeyOptions {
  syncAddr?: string;
  apiKeyFile?: string;
}

function registerRekey(group: Command, context: Context): void {
  addCommand(group, "rekey <name>", {
    summary: "issue a partner a new API key (on a primary), or store the one that a primary issued",
    details:
      "On a primary, prints the new key once; the old one works until the new one is used. On a secondary, checks the " +
      "new key with the primary and stores it.",
    examples: [
      "sandpiper company rekey Epicor > epicor.key",
      "sandpiper company rekey 'ABC Brakes' --api-key-file abc.key",
      "sandpiper company rekey 'ABC Brakes' --api-key-file - --sync-addr https://new.abcbrakes.example",
    ],
  })
    .option(
      "--api-key-file <file>",
      "on a secondary: file with the API key, - for standard input (or SANDPIPER_API_KEY)",
    )
    .option("--sync-addr <url>", "on a secondary: the primary's new address")
    .action(
      action<RekeyOptions, [string]>(context, (cli, options, nameOrId) =>
        cli.withApp(async (app) => {
          await (app.server.role === "primary"
            ? reissue(cli, app, options, nameOrId)
            : restore(cli, app, options, nameOrId));
        }),
      ),
    );
}

async function reissue(cli: Cli, app: App, options: RekeyOptions, nameOrId: string): Promise<void> {
  if (options.apiKeyFile !== undefined || options.syncAddr !== undefined) {
    throw new SandpiperError("usage", "--api-key-file and --sync-addr are for a secondary; this is a primary", {
      hint: "Leave them out: the key is made here.",
    });
  }
  await rekeyPartner(app, "operator", nameOrId, ({ company, apiKey }) =>
    showApiKey(cli, apiKey, { ...brief(company), api_key: apiKey }, [
      `${company.name} stores the new key with: sandpiper company rekey OUR-NAME --api-key-file -`,
      "The old key works until the new one is used. The new one is shown only once, now:",
    ]),
  );
}

async function restore(cli: Cli, app: App, options: RekeyOptions, nameOrId: string): Promise<void> {
  const { company, syncAddr, knownThereAs } = await rekeyPrimary(app, "operator", {
    company: nameOrId,
    address: options.syncAddr,
    apiKey: () => readApiKey(cli, options.apiKeyFile),
  });
  noteOtherId(cli, knownThereAs, app.server.serverId);
  await cli.output.result(`The new API key of ${company.name} is stored.`, { ...brief(company), sync_addr: syncAddr });
}

const brief = ({ id, name }: Company) => ({ id, name });
