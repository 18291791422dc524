/** Output that cannot be printed: the work goes on, the end says so, and no key is lost. Real commands. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { sandpiperProgram } from "../harness/process.ts";
import { addLines, makePair, offer, type Party } from "./parties.ts";

t.setTimeout(300_000);

/** A script of bash in which "$@" is the command. */
async function inShell({ directory, database }: Party, script: string) {
  const child = spawn("bash", ["--norc", "-c", script, "bash", process.execPath, sandpiperProgram], {
    cwd: directory,
    env: { PATH: process.env.PATH, SANDPIPER_DATABASE_URL: database.url },
    stdio: ["ignore", "ignore", "pipe"],
  });
  let stderr = "";
  child.stderr.on("data", (piece) => {
    stderr += piece;
  });
  const [code] = await once(child, "close");
  return { code, stderr };
}

t.test("what a command prints", async (t) => {
  const { primary, secondary } = await makePair(t);
  const names = ["a", "b", "c"];
  for (const name of names) {
    await offer(primary, name, "aces-items", secondary);
    await primary.batch(name, addLines(0, 3));
  }
  const full = { stdout: "/dev/full" };
  const sentence = /^sandpiper: not everything could be printed \(the disk is full\)\n[A-Z].*\n$/;

  await t.test("a sync delivers everything all the same, and ends with 9", async (t) => {
    for (const [args, into] of [
      [["sync"], full],
      [["sync", "--json"], full],
      [["sync"], { stdout: "/dev/full", stderr: "/dev/full" }],
    ] as const) {
      for (const name of names) await primary.batch(name, addLines(100 + Math.floor(Math.random() * 1e9), 1));
      const run = await secondary.run([...args, "--retry-for", "0"], { into });
      t.equal(run.code, 9);
      if (!("stderr" in into) && args.length === 1) t.match(run.stderr, sentence);
      if (args.length === 2) t.match(JSON.parse(run.stderr), { error: { code: "storage" } });
      t.same(await secondary.content(), await primary.content(), "all three slices have arrived");
    }
    const log = await secondary.run(["sync", "--noupdate"], { into: { stderr: "/dev/full" } });
    t.equal(log.code, 0, "nothing was to be said there");
  });

  await t.test("every other command says it in a sentence", async (t) => {
    for (const args of [
      ["list"],
      ["list", "--full"],
      ["activity"],
      ["company", "list", "--status"],
      ["--help"],
      ["--version"],
    ]) {
      const run = await secondary.run(args, { into: full });
      t.equal(run.code, 9, args.join(" "));
      t.match(run.stderr, sentence, args.join(" "));
    }
    const wrong = await secondary.run(["list", "--slice", "no such"], { into: { stderr: "/dev/full" } });
    t.equal(wrong.code, 2, "an exit code is there without its sentence");
  });

  await t.test("a key that nobody has seen is not kept", async (t) => {
    const db = await primary.db();
    const keys = () => db.query("SELECT id FROM api_keys ORDER BY id");
    const before = await keys();
    const refusal =
      /sandpiper: the API key could not be printed \(the disk is full\), so nothing was changed\n[A-Z].*\n$/;
    for (const args of [
      ["company", "add", "Fullco"],
      ["company", "rekey", "Epicor"],
      ["company", "rekey", "Epicor"],
    ]) {
      const run = await primary.run(args, { into: full });
      t.equal(run.code, 9, args.join(" "));
      t.match(run.stderr, refusal);
      t.notMatch(run.stderr, "not everything");
    }
    t.same(await keys(), before);
    t.notMatch(await primary.ok(["company", "list"]), "Fullco");
    t.equal((await secondary.run(["sync"])).code, 0, "the old key works");
    const key = join(primary.directory, "fullco.key");
    t.equal((await primary.run(["company", "add", "Fullco"], { into: { stdout: key } })).code, 0);
    t.match(readFileSync(key, "utf8"), /^\S{40,}\n$/);
  });

  await t.test("a reader that has gone is no failure, unless it was to take a key", async (t) => {
    const unread = (command: string) => inShell(primary, `"$@" ${command} | true; exit \${PIPESTATUS[0]}`);
    t.same(await unread("list"), { code: 0, stderr: "" });
    const lost = await unread("company add Nobody");
    t.equal(lost.code, 9);
    t.match(lost.stderr, /could not be printed \(its reader has gone\)/);
    t.notMatch(await primary.ok(["company", "list"]), "Nobody");
    t.same(await inShell(primary, '"$@" list >&-'), { code: 0, stderr: "" });
  });
});
