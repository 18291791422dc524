/** `sandpiper init`: sets up a server. */
import { resolve } from "node:path";
import { type Command, Option } from "commander";
import type { ServerRole } from "../companies/company.ts";
import { checkSyncAddress } from "../companies/sync-address.ts";
import { defaultConfigFile } from "../config/environment.ts";
import { SandpiperError } from "../errors.ts";
import { isUuid } from "../ids.ts";
import { checkName } from "../names.ts";
import { action, addCommand, type Cli, type Context } from "./command.ts";
import { shellWord } from "./printable.ts";

interface Options {
  role?: ServerRole;
  company?: string;
  data?: string;
  port?: string;
  syncUrl?: string;
  serverId?: string;
}

export function registerInit(program: Command, context: Context): void {
  addCommand(program, "init", {
    summary: "set up a server: configuration, database, role",
    details:
      "Writes the configuration file with fresh secrets, creates the embedded database (unless database.url is in the " +
      "environment or in a file that exists) and records who we are. On a terminal it asks for what is missing. Running " +
      "the same init again changes nothing.",
    examples: [
      "sandpiper init --role primary --company 'ABC Brakes' --sync-url https://sync.abcbrakes.example",
      "sandpiper init --role secondary --company Epicor --server-id 2f1c8d9e-7b1a-4c55-9a40-0d6a3c1b2e77",
      "sandpiper init --role secondary --company Epicor --data /var/lib/sandpiper --config /etc/sandpiper.yaml",
    ],
  })
    .addOption(new Option("--role <role>", "what this server is").choices(["primary", "secondary"]))
    .option("--company <name>", "our own company's name")
    .option("--data <dir>", "data directory, relative to the configuration file (default: ./sandpiper-data)")
    .option("--port <number>", "port that `serve` listens on (default: 8080)")
    .option("--sync-url <url>", "address that partners connect to")
    .option("--server-id <uuid>", "our own company's id, as the primary has it on file (default: a new one)")
    .action(
      action<Options>(context, async (cli, options) => {
        refuseTwice(cli, options);
        const { role, company } = await complete(cli, options);
        checkName("company", company);
        if (options.serverId !== undefined && !isUuid(options.serverId)) {
          throw new SandpiperError("usage", `--server-id ${JSON.stringify(options.serverId)} is not a UUID`, {
            hint: "Copy it from what `sandpiper company add` printed at the primary, or leave it out.",
          });
        }
        const syncUrl = options.syncUrl === undefined ? undefined : checkSyncAddress(options.syncUrl);
        const wanted = { role, companyName: company, serverId: options.serverId, syncUrl };
        const { setUp } = await import("./set-up.ts");
        const done = await setUp(cli.source, { ...wanted, data: options.data, port: options.port }, cli.signal);
        const { server, config, fileWritten, existed } = done;
        const what = `the ${server.role} of ${server.companyName} (id ${server.serverId})`;
        const sentence =
          existed && !fileWritten ? `This is ${what} already; nothing was changed.` : `This is now ${what}.`;
        await cli.output.result(sentence, {
          role: server.role,
          company: server.companyName,
          server_id: server.serverId,
          config: config.file,
          file_written: fileWritten,
          already_set_up: existed,
        });
        if (fileWritten && existed) {
          cli.output.note(
            "The database was set up before, and the secrets are new: API keys issued or stored earlier need `sandpiper company rekey`.",
          );
        }
        cli.output.note(`Configuration: ${config.file}\nNext:\n${nextCommands(server.role, cli.source.file)}`);
      }),
    );
}

/** The same value as an option of init and as a dotted flag: which one is meant is not ours to guess. */
function refuseTwice(cli: Cli, options: Options): void {
  const pairs = [
    ["--port", "--server.port", options.port],
    ["--sync-url", "--server.sync_url", options.syncUrl],
  ];
  for (const [option, dotted, value] of pairs) {
    if (value !== undefined && cli.source.flags.some((flag) => flag.startsWith(`${dotted}=`)))
      throw new SandpiperError("usage", `${option} and ${dotted} are the same setting`, { hint: "Give one of them." });
  }
}

async function complete(cli: Cli, options: Options): Promise<{ role: ServerRole; company: string }> {
  const missing = [...(options.role ? [] : ["--role"]), ...(options.company === undefined ? ["--company"] : [])];
  if (missing.length > 0 && !cli.prompt.available) {
    throw new SandpiperError("usage", `${missing.join(" and ")} must be given`, {
      hint: "For example: sandpiper init --role primary --company 'ABC Brakes'",
    });
  }
  const role =
    options.role ?? (await cli.prompt.ask("Role of this server (primary owns data, secondary receives it): "));
  if (role !== "primary" && role !== "secondary") {
    throw new SandpiperError("usage", `${JSON.stringify(role)} is not a role`, { hint: "Say primary or secondary." });
  }
  return { role, company: options.company ?? (await cli.prompt.ask("Name of your company: ")) };
}

function nextCommands(role: ServerRole, file: string): string {
  const config = resolve(file) === resolve(defaultConfigFile) ? "" : ` --config ${shellWord(file)}`;
  const commands =
    role === "primary"
      ? [
          "sandpiper slice add NAME --type aces-file",
          "sandpiper add --slice NAME FILE",
          "sandpiper company add PARTNER",
          "sandpiper subscription add NAME --slice NAME --company PARTNER",
          "sandpiper serve",
        ]
      : ["sandpiper company add PRIMARY --sync-addr URL --api-key-file -", "sandpiper sync", "sandpiper pull DIR"];
  return commands
    .map((command) => `  ${command.replace(/^(sandpiper( company| slice| subscription)? \w+)/, `$1${config}`)}`)
    .join("\n");
}
