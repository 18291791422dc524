/** `sandpiper sync`. */
import type { Command } from "commander";
import { forgetOld } from "../activity/retention-store.ts";
import { SandpiperError } from "../errors.ts";
import { requireRole } from "../operations/role.ts";
import { action, addCommand, type Context } from "./command.ts";
import { SyncOutput } from "./sync-output.ts";
import { wholeNumber } from "./whole-number.ts";

interface Options {
  sub?: string;
  noupdate?: boolean;
  jobs?: number;
  wait: number;
  retryFor: number;
  splay: number;
  allowDrops?: boolean;
  detailedExitcode?: boolean;
  quiet?: boolean;
}

export function registerSync(parent: Command, context: Context): void {
  addCommand(parent, "sync", {
    summary: "bring our copies up to date with the primaries that we subscribe to",
    details:
      "Prints a line for each primary when it is done, and a total at the end. A slice that differs is replaced in one transaction\nand verified from what is stored: it is either the primary's, or as it was. With --json each line is an object, and the last is a summary.",
    examples: [
      "sandpiper sync",
      "sandpiper sync --noupdate",
      'sandpiper sync --sub "acme-rotors"',
      "sandpiper sync --quiet --splay 600   # in a crontab",
    ],
  })
    .option("--sub <name>", "only this subscription (name or id), or only this primary (company id)")
    .option("--noupdate", "rehearse: decide everything, change nothing here")
    .option("--jobs <n>", "how many primaries at once (default: sync.jobs, 4)", wholeNumber(1, 64))
    .option("--wait <seconds>", "how long to wait for another sync with the same primary", wholeNumber(0, 86_400), 0)
    .option("--retry-for <seconds>", "how long to keep retrying temporary failures", wholeNumber(0, 86_400), 300)
    .option("--splay <seconds>", "start after a random part of this time", wholeNumber(0, 86_400), 0)
    .option(
      "--allow-drops",
      "allow slices to be emptied or to lose more than half of their grains, and subscriptions to disappear",
    )
    .option("--detailed-exitcode", "with --noupdate: exit 20 when there are differences")
    .option("--quiet", "say nothing when all is well")
    .action(
      action(context, async (cli, options: Options) => {
        // Loaded here alone: the other commands, and help, start faster without a websocket client.
        const [{ withApp }, { runSync }] = await Promise.all([import("../app.ts"), import("../sync/run/run.ts")]);
        const rehearsal = options.noupdate === true;
        if (options.detailedExitcode && !rehearsal) {
          throw new SandpiperError("usage", "--detailed-exitcode goes with --noupdate", {
            hint: "A real run returns 0 when all is in sync.",
          });
        }
        await withApp(cli.source, "sandpiper sync", cli.signal, async (app) => {
          requireRole(app, "secondary", "sync");
          const output = new SyncOutput({ json: cli.json, quiet: options.quiet === true, rehearsal });
          const report = await runSync(app, {
            sub: options.sub,
            jobs: options.jobs ?? app.config.sync.jobs,
            splaySeconds: options.splay,
            options: {
              rehearsal,
              allowDrops: options.allowDrops === true,
              waitSeconds: options.wait,
              retryForSeconds: options.retryFor,
            },
            signal: cli.signal,
            emit: (event) => output.tell(event),
          }).finally(() => output.stopProgress());
          const differences = report.partners.some((partner) =>
            partner.results.some((result) => result.outcome === "would-update"),
          );
          const exitCode = report.exitCode === 0 && options.detailedExitcode && differences ? 20 : report.exitCode;
          output.total({ ...report, exitCode });
          cli.setExitCode(exitCode);
          // A secondary that has no `serve` keeps its logs short here. It is no part of the sync: what fails is left to the next one.
          const forgetting = rehearsal
            ? undefined
            : forgetOld(app.db, app.config.retention.days, { limitMs: 1000, signal: cli.signal });
          await forgetting?.catch((error) => app.log.debug({ event: "retention.failed", err: error }));
        });
      }),
    );
}
