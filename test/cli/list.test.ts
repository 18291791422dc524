/** `list --full` of a slice that is changed while it is being listed: never part old and part new with exit code 0. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { sandpiperProgram } from "../harness/process.ts";
import { addLines, Party } from "../integration/parties.ts";

t.setTimeout(180_000);

t.test("a slice that is changed while it is being listed", async (t) => {
  const primary = await Party.make(t, "primary", "ABC Brakes");
  await primary.ok(["slice", "add", "pads", "--type", "aces-items"]);
  await primary.batch("pads", addLines(0, 5000));
  const list = (change: () => Promise<unknown>) =>
    (async () => {
      const child = spawn(process.execPath, [sandpiperProgram, "list", "--slice", "pads", "--full", "--json"], {
        cwd: primary.directory,
        env: { PATH: process.env.PATH, SANDPIPER_DATABASE_URL: primary.database.url },
        stdio: ["ignore", "pipe", "pipe"],
      });
      t.teardown(() => child.kill("SIGKILL"));
      const exited = once(child, "exit");
      await once(child.stdout, "readable");
      await sleep(300); // the pipe is full: it waits for us
      await change();
      let [out, err] = ["", ""];
      child.stdout.on("data", (piece) => {
        out += piece;
      });
      child.stderr.on("data", (piece) => {
        err += piece;
      });
      const [code] = (await exited) as [number];
      return { code, out, err };
    })();
  const still = await list(async () => {});
  t.equal(still.code, 0, still.err);
  t.equal((JSON.parse(still.out) as { items: unknown[] }[])[0]!.items.length, 5000);
  const changed = await list(() => primary.batch("pads", [{ delete_all: true }, ...addLines(9000, 10)]));
  t.equal(changed.code, 7);
  t.match(JSON.parse(changed.err), {
    error: { code: "deferred", message: "slice pads was changed while it was being listed", hint: /list it again/ },
  });
});
