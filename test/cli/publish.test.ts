import { execFile } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import t from "tap";
import { everything } from "../../src/database/scope.ts";
import { applyBatch, type BatchLine } from "../../src/slices/batch.ts";
import { findSlice } from "../../src/slices/slice-store.ts";
import { sandpiperProgram } from "../harness/process.ts";
import { sandbox } from "./sandbox.ts";

t.setTimeout(120_000);

t.test("add and list", async (t) => {
  const { run, json, refuses, directory, onTerminal, withDatabase, databaseUrl } = await sandbox(t, "primary");
  await json(["slice", "add", "Pads", "--type", "aces-file"]);
  await writeFile(join(directory, "one.xml"), "<ACES>one</ACES>");
  await writeFile(join(directory, "two.xml"), "<ACES>two</ACES>");
  const add = ["add", "--slice", "pads"];
  t.match(await run([...add, "one.xml"]), { code: 0, stdout: /^Published one.xml in slice Pads \(16 bytes, \d+ comp/ });
  t.match(await run([...add, "one.xml"]), { code: 0, stdout: "Nothing to publish" });
  t.match(await json([...add, "one.xml"]), { changed: false, source: "one.xml", replaced: null, bytes: 16 });

  const question = /Replace what slice Pads has held since .* UTC\? \[y\/N\]/;
  t.match(await onTerminal([...add, "two.xml"], [["[y/N]", "n\r"]]), { code: 2, screen: question });
  t.match(await json(["list", "--full"]), [{ items: [{ source: "one.xml" }] }], "a no changes nothing");
  t.match(await onTerminal([...add, "two.xml"], [["[y/N]", "y\r"]]), { code: 0, screen: "Published two.xml" });
  t.match(await onTerminal([...add, "--noprompt", "one.xml"]), { code: 0, screen: "Published one.xml" });
  t.match(await run([...add, "two.xml"]), { code: 0 }, "elsewhere nobody is asked");

  await mkdir(join(directory, "dir"));
  await writeFile(join(directory, "large.bin"), Buffer.alloc(3000, "0123456789abcdef"));
  const before = (await run(["list", "--full"])).stdout;
  const at = (name: string) => join(directory, name);
  await refuses(t, [
    [[...add, at("none.xml")], 2, "there is no such file"],
    [[...add, at("dir")], 2, "it is not a regular file"],
    [[...add, "/dev/zero"], 2, "it is not a regular file"],
    [["add", "--slice", "nil", at("one.xml")], 2, 'there is no slice "nil"'],
    [[...add, "--limits.max_grain_bytes", "10", at("large.bin")], 11, "larger than 10 bytes"],
    [["list", "--slice", "nil"], 2, "there is no slice"],
  ]);
  t.equal((await run(["list", "--full"])).stdout, before);

  await json(["slice", "lock", "pads"]);
  t.match(await run([...add, "one.xml"]), { code: 0, stderr: "The slice is locked" });

  await t.test("many grains", async (t) => {
    await json(["slice", "add", "Items", "--type", "aces-items"]);
    const lines: BatchLine[] = Array.from({ length: 6000 }, (_, n) => ({
      add: { grain_key: `k${n}`, source: "evil\u001b[2J", encoding: "raw" as const, payload: String(n) },
    }));
    await withDatabase(async (db) => applyBatch(db, (await findSlice(db, everything, "items"))!, lines, 1000));
    const { stdout } = await run(["list", "--full", "--slice", "items"]);
    const rows = stdout.trimEnd().split("\n");
    t.equal(rows.length, 6000);
    t.equal(new Set(rows.map((row) => row.split("\t")[1])).size, 6000);
    t.match(rows[0], /^Items\tk\d+\t[0-9a-f-]{36}\traw\t\d+\tevil\\u001b\[2J$/);
    const [document] = (await json(["list", "--full", "--slice", "items"])) as [{ items: unknown[]; grains: number }];
    t.equal(document.items.length, 6000);
    t.equal(document.grains, 6000);
    await refuses(t, [[["add", "--slice", "items", at("one.xml")], 2, "holds level-2 grains"]]);

    const pipeline = `'${process.execPath}' '${sandpiperProgram}' list --full | head -n 1; exit \${PIPESTATUS[0]}`;
    const env = { PATH: process.env.PATH, SANDPIPER_DATABASE_URL: databaseUrl };
    const head = await promisify(execFile)("bash", ["--norc", "-c", pipeline], { cwd: directory, env });
    t.match(head, { stdout: /^Items\tk\d+\t[^\n]*\n$/, stderr: /^$/ }, "a reader that goes away is no failure");
  });
  const table = (await onTerminal(["list"])).screen;
  t.match(table, /NAME.*ID.*TYPE.*GRAINS.*BYTES.*DATE.*HASH.*LOCKED/);
  t.match(table, /Items .* 6,000 /);
  const plain = (await onTerminal(["list"], [], { NO_COLOR: "1" })).screen;
  t.notMatch(plain, "\u001b");
});

t.test("an empty server lists nothing", async (t) => {
  const { run, json } = await sandbox(t, "primary");
  t.match(await run(["list"]), { code: 0, stdout: /^$/ });
  t.same(await json(["list"]), []);
  t.same(await json(["list", "--full"]), []);
  t.same(await json(["activity"]), []);
});
