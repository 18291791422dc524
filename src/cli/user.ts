/** `sandpiper user`: people who may log in to the server. */
import { type Command, Option } from "commander";
import { roles } from "../companies/company.ts";
import { countNamesakes, loginName, minPasswordLength } from "../companies/user-store.ts";
import { SandpiperError } from "../errors.ts";
import { createUser } from "../operations/users.ts";
import { action, addCommand, addGroup, type Cli, type Context } from "./command.ts";

type PersonRole = Exclude<keyof typeof roles, "sync">;

interface Options {
  role: PersonRole;
  company?: string;
  email?: string;
}

export function registerUser(program: Command, context: Context): void {
  const group = addGroup(program, "user", "people who may log in to the server");
  addCommand(group, "add <name>", {
    summary: "add a user",
    details:
      "The password is read from standard input (one line), or asked for on a terminal. A company-admin sees its own " +
      "company only; the other roles belong to our own company and see everything. People log in as NAME@COMPANY; NAME " +
      "alone works as long as no other company has a user of that name.",
    examples: [
      "sandpiper user add maria --role super-admin",
      "sandpiper user add bob --role company-admin --company Epicor --email bob@epicor.example < password.txt",
    ],
  })
    .addOption(
      new Option("--role <role>", "what the user may do")
        .choices(Object.keys(roles).filter((role) => role !== "sync"))
        .makeOptionMandatory(),
    )
    .option("--company <company>", "name or id of the user's company (default: our own)")
    .option("--email <address>", "the user's e-mail address")
    .action(
      action<Options, [string]>(context, (cli, options, name) =>
        cli.withApp(async (app) => {
          const { user, company } = await createUser(app, "operator", {
            company: options.company,
            name,
            role: roles[options.role],
            email: options.email,
            password: () => readPassword(cli),
          });
          const login = loginName(user.name, company);
          await cli.output.result(
            `User ${user.name} of ${company.name} is added as ${options.role}. The name to log in with is ${login}.`,
            {
              id: user.id,
              name: user.name,
              login,
              company: company.name,
              role: options.role,
              email: user.email,
            },
          );
          if ((await countNamesakes(app.db, name)) > 1)
            cli.output.note(
              `Other companies have a user ${name} as well: from now on, each of these users must log in as NAME@COMPANY.`,
            );
        }),
      ),
    );
}

async function readPassword(cli: Cli): Promise<string> {
  const password = await cli.prompt.secret(`Password (${minPasswordLength} characters or more): `, "the password");
  if (password === "") {
    throw new SandpiperError("usage", "no password was given", {
      hint: "Give it on the first line of standard input.",
    });
  }
  if (cli.prompt.available && (await cli.prompt.ask("Repeat the password: ", { hidden: true })) !== password) {
    throw new SandpiperError("usage", "the two passwords differ", { hint: "Run it again." });
  }
  return password;
}
