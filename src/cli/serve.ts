/** `sandpiper serve`. */
import type { Command } from "commander";
import { withApp } from "../app.ts";
import { action, addCommand, type Context } from "./command.ts";

export function registerServe(parent: Command, context: Context): void {
  addCommand(parent, "serve", {
    summary: "answer partners (on a primary) and the REST API, until SIGTERM or SIGINT",
    details:
      "Logs one JSON line an event on standard error. On SIGTERM or SIGINT it finishes what is running, refuses what is new, and exits 0.",
    examples: ["sandpiper serve", "sandpiper serve --server.host 0.0.0.0 --server.port 8081"],
  }).action(
    action(context, async (run) => {
      // Loaded here alone: the other commands start faster without an HTTP server in them.
      const { serve } = await import("../server/serve.ts");
      await withApp(run.source, "sandpiper serve", run.signal, (app) => serve(app, run.signal));
    }),
  );
}
