/** `sandpiper migrate`: brings the database up to this program. */
import type { Command } from "commander";
import { action, addCommand, type Context } from "./command.ts";

export function registerMigrate(program: Command, context: Context): void {
  addCommand(program, "migrate", {
    summary: "bring the database up to this version of sandpiper",
    details: "Run it after an upgrade, as a database login that owns the tables. Running it twice changes nothing.",
    examples: ["sandpiper migrate", "SANDPIPER_DATABASE_URL=postgres://owner@db.example/sandpiper sandpiper migrate"],
  }).action(
    action(context, async (cli) => {
      const [{ loadConfig }, { openDatabase }, { migrateDatabase }] = await Promise.all([
        import("../config/config.ts"),
        import("../database/database.ts"),
        import("../operations/migrate.ts"),
      ]);
      const db = await openDatabase(loadConfig(cli.source.flags, cli.source.file), {
        as: "owner",
        name: "sandpiper migrate",
      });
      const applied = await migrateDatabase(db).finally(() => db.close());
      const sentence = applied.length === 0 ? "The database is up to date." : `Applied ${applied.join(", ")}.`;
      await cli.output.result(sentence, { applied });
    }),
  );
}
