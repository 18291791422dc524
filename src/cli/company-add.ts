/** `sandpiper company add`: on a primary a partner, on a secondary a primary. */
import type { Command } from "commander";
import type { App } from "../app.ts";
import { checkSyncAddress } from "../companies/sync-address.ts";
import { SandpiperError } from "../errors.ts";
import { isUuid } from "../ids.ts";
import { checkName } from "../names.ts";
import { registerPartner } from "../operations/register-partner.ts";
import { registerPrimary } from "../operations/register-primary.ts";
import { readApiKey } from "./api-key-input.ts";
import { action, addCommand, type Cli, type Context } from "./command.ts";
import { shellWord } from "./printable.ts";

interface Options {
  id?: string;
  syncAddr?: string;
  apiKeyFile?: string;
}

export function registerCompanyAdd(group: Command, context: Context): void {
  addCommand(group, "add <name>", {
    summary: "register a partner (on a primary) or a primary (on a secondary)",
    details:
      "On a primary, prints the partner's API key on standard output, once, and the commands that the partner should run. " +
      "On a secondary (--sync-addr), logs in to the primary with the key that you got from it, and stores both.",
    examples: [
      "sandpiper company add Epicor",
      "sandpiper company add Epicor > epicor.key",
      "sandpiper company add 'ABC Brakes' --sync-addr https://sync.abcbrakes.example --api-key-file abc.key",
    ],
  })
    .option("--id <uuid>", "on a primary: the partner's id, if it has one (default: a new one)")
    .option("--sync-addr <url>", "on a secondary: where the primary listens")
    .option(
      "--api-key-file <file>",
      "on a secondary: file with the API key, - for standard input (or SANDPIPER_API_KEY)",
    )
    .action(
      action<Options, [string]>(context, async (cli, options, name) => {
        checkName("company", name);
        if (options.syncAddr === undefined) return addPartner(cli, options, name);
        await addPrimary(cli, options, name, options.syncAddr);
      }),
    );
}

async function addPartner(cli: Cli, options: Options, name: string): Promise<void> {
  if (options.apiKeyFile !== undefined) {
    throw new SandpiperError("usage", "--api-key-file goes with --sync-addr", {
      hint: "On a secondary give both; on a primary neither: the key is made there.",
    });
  }
  if (options.id !== undefined && !isUuid(options.id)) {
    throw new SandpiperError("usage", `--id ${JSON.stringify(options.id)} is not a UUID`, {
      hint: "Give the partner's id, such as 2f1c8d9e-7b1a-4c55-9a40-0d6a3c1b2e77, or leave it out.",
    });
  }
  await cli.withApp(async (app) => {
    await registerPartner(app, { name, id: options.id }, async ({ company, apiKey }) => {
      const commands = partnerCommands(app, company);
      await showApiKey(cli, apiKey, { id: company.id, name: company.name, api_key: apiKey, commands }, [
        `${company.name} is registered with the id ${company.id}. Have it run these commands, and paste its API key when the second one asks for it:`,
        ...commands.map((command) => `  ${command}`),
        "Its API key is shown only once, now:",
      ]);
    });
  });
}

/** The key alone on standard output, so that it can be sent into a file; what to do with it beside it. @throws `storage` when it cannot be printed. */
export async function showApiKey(cli: Cli, apiKey: string, document: object, notes: string[]): Promise<void> {
  cli.output.note(notes.join("\n"));
  await cli.output.resultForGood(apiKey, document, "the API key");
}

function partnerCommands(app: App, company: { id: string; name: string }): string[] {
  const address = ownAddress(app) ?? "https://ADDRESS-OF-THIS-SERVER";
  return [
    `sandpiper init --role secondary --company ${shellWord(company.name)} --server-id ${company.id}`,
    `sandpiper company add ${shellWord(app.server.companyName)} --sync-addr ${shellWord(address)} --api-key-file -`,
  ];
}

/** Where partners reach this server, if the configuration says so in a form that they can use. */
function ownAddress({ config }: App): string | undefined {
  const { sync_url: url, host, port, tls_cert: cert } = config.server;
  try {
    return checkSyncAddress(
      url ?? `${cert === undefined ? "http" : "https"}://${host.includes(":") ? `[${host}]` : host}:${port}`,
    );
  } catch {
    // 0.0.0.0 for example: listened on, but nobody's address.
    return undefined;
  }
}

async function addPrimary(cli: Cli, options: Options, name: string, address: string): Promise<void> {
  if (options.id !== undefined) {
    throw new SandpiperError("usage", "--id does not go with --sync-addr", {
      hint: "Leave it out: the primary says its own id.",
    });
  }
  await cli.withApp(async (app) => {
    const { company, syncAddr, knownThereAs } = await registerPrimary(app, "operator", {
      name,
      address,
      apiKey: () => readApiKey(cli, options.apiKeyFile),
    });
    noteOtherId(cli, knownThereAs, app.server.serverId);
    await cli.output.result(`The primary ${company.name} (id ${company.id}) is registered. Next: sandpiper sync`, {
      id: company.id,
      name: company.name,
      sync_addr: syncAddr,
      known_there_as: knownThereAs,
    });
  });
}

/** The primary has us on file under an id that is not ours: it works, but reports there do not match ours. */
export function noteOtherId(cli: Cli, there: string, here: string): void {
  if (there === here) return;
  cli.output.note(`The primary has this company on file as ${there}; our own id is ${here}. Is it the right key?`);
}
