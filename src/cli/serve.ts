/** `sandpiper serve`. */
import type { Command } from "commander";
import { tlsVariableIgnored } from "../config/environment.ts";
import { action, addCommand, type Context, tlsWarning } from "./command.ts";

export function registerServe(parent: Command, context: Context): void {
  addCommand(parent, "serve", {
    summary: "answer partners (on a primary) and REST requests, until SIGTERM or SIGINT",
    details:
      "Logs one JSON line for each event on standard error. On SIGTERM or SIGINT it refuses new work, lets work in progress finish, and exits 0; " +
      "on a second signal it no longer waits for running work. On SIGHUP it reads its certificate again.",
    examples: ["sandpiper serve", "sandpiper serve --server.host 0.0.0.0 --server.port 8081"],
  }).action(
    action(context, async (cli) => {
      cli.signals?.keepThroughHangUp();
      // Loaded here alone: the other commands, and help, start faster without an HTTP server.
      const [{ withApp }, { serve }] = await Promise.all([import("../app.ts"), import("../daemon/serve.ts")]);
      await withApp(cli.source, "sandpiper serve", cli.signal, (app) => {
        if (cli.signals !== undefined)
          cli.signals.onIgnored = (name) => app.log.warn({ event: "server.signal_ignored", signal: name });
        if (tlsVariableIgnored()) app.log.warn({ event: "server.variable_ignored", reason: tlsWarning });
        return serve(app, cli.signal, cli.signals?.hurry);
      });
    }),
  );
}
