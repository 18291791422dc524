/** The embedded database on a disk that becomes full, or is: what it says, and that nothing is broken. */

import { once } from "node:events";
import { createWriteStream, statSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { type Outcome, sandpiper } from "../harness/process.ts";
import { Random } from "../harness/random.ts";
import { freeOn, noSmallDisk, smallDisk } from "../harness/small-disk.ts";

t.setTimeout(240_000);

const mib = 2 ** 20;

/** Writes zeros until nothing more fits. */
async function fill(path: string): Promise<void> {
  const file = createWriteStream(path);
  const full = once(file, "error").catch((error) => error);
  file.on("drain", () => file.write(Buffer.alloc(mib)));
  while (file.write(Buffer.alloc(mib)));
  await full;
}

t.test("a primary on a small disk", async (t) => {
  const directory = await smallDisk(t, 220);
  if (directory === undefined) {
    t.skip(noSmallDisk, () => {});
    return;
  }
  const run = (...args: string[]): Promise<Outcome> => sandpiper(args, { cwd: directory, timeoutMs: 120_000 });
  const data = join(directory, "sandpiper-data", "postgres");
  t.match(await run("init", "--role", "primary", "--company", "ABC Brakes"), { code: 0 });
  t.match(await run("slice", "add", "pads", "--type", "aces-file"), { code: 0 });
  const random = new Random(11);
  const publish = async (megabytes: number) => {
    const file = join(directory, "file.bin");
    writeFileSync(file, random.bytes(megabytes * mib));
    return run("add", "--slice", "pads", "--noprompt", file);
  };
  t.match(await publish(5), { code: 0 });

  for (const time of ["once", "again"]) {
    const refused = await publish(60);
    t.match(refused, { code: 9 }, time);
    t.match(refused.stderr, /^sandpiper: the disk of the database is full: \d+ MB are free, of which 101 MB are kept/);
    t.match(refused.stderr, `Free some space on the disk of ${data} and run again: nothing was changed.`);
  }
  t.match(await publish(6), { code: 0 }, "what is smaller can be published still");

  const ballast = join(directory, "ballast");
  await fill(ballast);
  t.equal(freeOn(directory), 0);
  const stuck = await run("slice", "list");
  t.equal(stuck.code, 9);
  t.match(stuck.stderr, /^sandpiper: The embedded PostgreSQL could not be started: .*No space left on device\n/);
  t.match(stuck.stderr, `on the disk of ${data}, which has 0 MB left, and run again: nothing is lost.`);
  const megabytes = Number(/Free at least (\d+) MB/.exec(stuck.stderr)?.[1]);
  truncateSync(ballast, statSync(ballast).size - megabytes * 1e6);
  const started = await run("slice", "list", "--json");
  t.equal(started.code, 0, started.stderr);
  t.match(JSON.parse(started.stdout), [{ name: "pads", grains: 1 }]);
});
