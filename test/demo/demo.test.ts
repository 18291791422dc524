import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import t from "tap";
import { scratch } from "../harness/scratch.ts";

const program = fileURLToPath(new URL("demo.js", import.meta.url));
t.setTimeout(240_000);

interface Demo {
  code: number | null;
  stdout: string;
  stderr: string;
  /** What it left in its temporary directory. */
  left: string[];
}

/** Runs the demo with a temporary directory of its own. @param interruptAt sends SIGINT once this was printed. */
async function demo(test: Parameters<typeof scratch>[0], args: string[], interruptAt?: string): Promise<Demo> {
  const temporary = await scratch(test);
  const env = { ...process.env, TMPDIR: temporary, SANDPIPER_DATABASE_URL: "postgres://nobody@127.0.0.1:1/none" };
  const child = spawn(process.execPath, [program, ...args], { cwd: temporary, env: { ...env, INIT_CWD: "" } });
  let [stdout, stderr] = ["", ""];
  child.stdout.setEncoding("utf8").on("data", (piece) => {
    stdout += piece;
    if (interruptAt !== undefined && stdout.includes(interruptAt)) child.kill("SIGINT");
  });
  child.stderr.setEncoding("utf8").on("data", (piece) => (stderr += piece));
  const [code] = (await once(child, "close")) as [number | null];
  return { code, stdout, stderr, left: await readdir(temporary) };
}

t.test("a catalogue crosses, generated or given, and only what changed crosses again", async (t) => {
  const odd = join(await scratch(t), "Ün odd'name; $HOME.xml");
  await writeFile(odd, Buffer.from([...Array(256).keys(), 0xef, 0xbb, 0xbf, 0x0d, 0x0a, 0x00]));
  const [generated, given] = await Promise.all([demo(t, []), demo(t, [odd])]);
  for (const { code, stdout, stderr, left } of [generated, given]) {
    t.equal(code, 0, stderr);
    t.equal(stderr, "");
    t.match(stdout, /The file that came out is the file that went in, byte for byte/);
    t.match(stdout, /\n {3}10 of 2,000 parts changed +\+10 -10 +[\d,]+ /);
    t.match(stdout, /\n {3}nothing changed +\+0 -0 /);
    t.match(stdout, /What was sent has arrived, byte for byte\. .*\n$/);
    t.notOk(stdout.includes("\x1b"), "no colours in a pipe");
    t.same(left, [], "nothing is left behind");
  }
  t.match(given.stdout, "your file, 262 bytes");
});

t.test("a file that cannot be used is refused at once", async (t) => {
  for (const [args, problem] of [
    [["nosuch.xml"], "demo: there is no file nosuch.xml"],
    [["."], "demo: . is not a regular file"],
    [["a", "b"], "demo: one file at most, not 2"],
  ] as const) {
    const { code, stdout, stderr, left } = await demo(t, [...args]);
    t.equal(code, 2);
    t.equal(stdout, "");
    t.match(stderr, problem);
    t.same(left, []);
  }
});

t.test("interrupted, it cleans up", async (t) => {
  const { code, stderr, left } = await demo(t, [], "listens on");
  t.equal(code, 130);
  t.match(stderr, "Stopped by SIGINT");
  t.same(left, []);
});
