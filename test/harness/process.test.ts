/** The harness itself: what it starts, it ends; what it counts, it counts truly. */
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import t from "tap";
import { sandpiper } from "./process.ts";
import { projectRoot } from "./project-root.ts";
import { scratch } from "./scratch.ts";

const here = fileURLToPath(new URL(".", import.meta.url));
const run = (args: string[], options: object = {}) =>
  new Promise<{ code: number | null; signal: string | null; stdout: string; stderr: string }>((resolve) => {
    const child = execFile(process.execPath, args, options, (_error, stdout, stderr) =>
      resolve({ code: child.exitCode, signal: child.signalCode, stdout, stderr }),
    );
  });
const alive = (pid: number) => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};

t.test("the real command runs as a process", async (t) => {
  const version = await sandpiper(["--version"]);
  const { version: expected } = JSON.parse(await readFile(join(projectRoot, "package.json"), "utf8")) as {
    version: string;
  };
  t.match(version, { code: 0, signal: null, stdout: expected, stderr: "" });
  const wrong = await sandpiper(["no-such-command"]);
  t.match(wrong, { code: 2, stdout: "" });
  t.not(wrong.stderr, "");
});

t.test("what a developer has exported does not reach the command", async (t) => {
  const directory = await scratch(t);
  process.env.SANDPIPER_SERVER_PORT = "nonsense";
  t.teardown(() => {
    delete process.env.SANDPIPER_SERVER_PORT;
  });
  await writeFile(join(directory, "sandpiper.yaml"), "");
  const clean = await sandpiper(["slice", "list"], { cwd: directory });
  t.notMatch(clean.stderr, "nonsense");
  const given = await sandpiper(["slice", "list"], { cwd: directory, env: { SANDPIPER_SERVER_PORT: "as told" } });
  t.match(given, { code: 2, stderr: /as told/ });
});

t.test("a process that does not end is ended", async (t) => {
  const directory = await scratch(t);
  const block = join(directory, "block.mjs");
  await writeFile(
    block,
    "import fs from 'node:fs'; fs.writeSync(2, 'here'); Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);",
  );
  await t.rejects(sandpiper(["--version"], { nodeArgs: ["--import", block], timeoutMs: 700 }), {
    message: /did not end/,
  });
  const aborted = await sandpiper(["--version"], { nodeArgs: ["--import", block], signal: AbortSignal.timeout(700) });
  t.match(aborted, { code: null, signal: "SIGTERM", stderr: "here" });
});

t.test("failpoints", async (t) => {
  const directory = await scratch(t);
  const program = join(directory, "steps.mjs");
  const log = join(directory, "steps.log");
  await writeFile(
    program,
    `import { step } from ${JSON.stringify(new URL("../../src/step.js", import.meta.url).href)};
     for (let i = 0; i < 3; i++) { step("l.begin"); step("l.add"); console.log("round", i); }`,
  );
  const withPoint = (SP_FP: string) =>
    run(["--import", join(here, "failpoint.js"), program], { env: { ...process.env, SP_FP, SP_FP_LOG: log } });
  t.match(await withPoint(""), { code: 0, stdout: "round 0\nround 1\nround 2\n" });
  const lines = ["l.begin 1", "l.add 1", "l.begin 2", "l.add 2", "l.begin 3", "l.add 3"];
  t.equal(await readFile(log, "utf8"), lines.map((line) => `${line}\n`).join(""), "every step is logged");
  t.match(await withPoint("l.add:2:kill"), { code: null, signal: "SIGKILL", stdout: "round 0\n" });
  t.match(await withPoint("l.begin:3:exit"), { code: 1, stdout: "round 0\nround 1\n" });
  t.match(await withPoint("l.add:1:throw"), { code: 1, stderr: /failpoint l\.add 1/ });
  const started = performance.now();
  t.match(await withPoint("l.begin:1:sleep:150,l.begin:2:sleep:150"), { code: 0, stdout: /round 2/ });
  t.ok(performance.now() - started >= 300, "both slept");
  t.match(await withPoint("l.begin:4:kill"), { code: 0 }, "a step that is not reached does nothing");
  for (const bad of ["l.begin", "l.begin:0:kill", "l.begin:1:explode", "nowhere:1:kill"]) {
    t.match(await withPoint(bad), { code: 1, stderr: /SP_FP/ }, bad);
  }
});

/** Test files that fail in every way a file can, and how they must be counted. */
const fixtures: Record<string, [source: string, counts: string]> = {
  good: ['t.test("a", async (t) => { t.ok(1); t.equal(2, 2); });', "2 passed, 0 failed"],
  bad: ['t.test("a", async (t) => { t.ok(1); t.equal(2, 3, "two is three"); });', "1 passed, 1 failed"],
  throws: ['t.test("a", async () => { throw new TypeError("oops"); });', "0 passed, 1 failed"],
  crash: [
    't.test("a", async (t) => { t.ok(1); process.kill(process.pid, "SIGSEGV"); await new Promise(() => {}); });',
    "1 passed, 1 failed",
  ],
  leaves: [
    't.test("a", async (t) => { t.ok(1); process.exit(0); }); t.test("b", async (t) => t.ok(1));',
    "1 passed, 1 failed",
  ],
  syntax: ["this is no JavaScript", "0 passed, 1 failed"],
  empty: ["", "0 passed, 1 failed"],
  skips: ['t.test("a", async (t) => { t.skip("not here"); });', "0 passed, 1 failed"],
  hangs: [
    't.setTimeout(600); t.test("a", async (t) => { t.ok(1); setInterval(() => {}, 1000); await new Promise(() => {}); });',
    "1 passed, 1 failed",
  ],
};

t.test("the runner counts truly, and its exit code says it", async (t) => {
  t.setTimeout(120_000);
  const directory = await scratch(t);
  await symlink(join(projectRoot, "node_modules"), join(directory, "node_modules"));
  await writeFile(join(directory, "package.json"), '{"type":"module"}');
  const paths = new Map<string, string>();
  for (const [name, [source]] of Object.entries(fixtures)) {
    const path = join(directory, `${name}.test.js`);
    await writeFile(path, name === "empty" ? source : `import t from "tap";\n${source}\n`);
    paths.set(name, path);
  }
  const runFiles = async (...files: string[]) => {
    // On the server of this very run, when there is one: by URL, as on any other server.
    const env = { ...process.env, SANDPIPER_TEST_DATABASE_URL: process.env.SANDPIPER_TEST_CLUSTER_URL };
    const { code, stdout } = await run([join(here, "run-tests.js"), ...files], { cwd: directory, env });
    return { code, stdout, last: stdout.trimEnd().split("\n").at(-1) };
  };
  const all = await runFiles(...paths.values());
  t.match(all, { code: 1, last: "6 passed, 7 failed" });
  t.match(all.stdout, /two is three/, "a failure is described");
  t.match(all.stdout, /ended by SIGSEGV/);
  t.match(await runFiles(paths.get("good")!), { code: 0, last: "2 passed, 0 failed" });
  t.match(await runFiles(paths.get("good")!, join(directory, "gone.test.js")), { code: 1, last: "2 passed, 1 failed" });
  for (const name of ["syntax", "skips"])
    t.match(await runFiles(paths.get(name)!), { code: 1, last: fixtures[name]![1] }, name);
});

t.test("the cluster goes with its owner, however that ends", async (t) => {
  const directory = await scratch(t);
  const program = join(directory, "own.mjs");
  await mkdir(join(directory, "x"));
  await writeFile(
    program,
    `import { startCluster } from ${JSON.stringify(new URL("cluster.js", import.meta.url).href)};
     const { adminUrl } = await startCluster();
     console.log(new URL(adminUrl).searchParams.get("host"));
     setInterval(() => {}, 1000);`,
  );
  for (const signal of ["SIGKILL", "SIGTERM"] as const) {
    const owner = spawn(process.execPath, [program], { stdio: ["ignore", "pipe", "inherit"] });
    t.teardown(() => owner.kill("SIGKILL"));
    const [line] = (await once(owner.stdout, "data")) as [Buffer];
    const dataDir = line
      .toString()
      .trim()
      .replace(/\/socket$/, "");
    const pid = Number.parseInt(await readFile(join(dataDir, "postgres/postmaster.pid"), "utf8"), 10);
    t.ok(alive(pid) && (await readdir(dataDir)).includes("postgres"), "it runs");
    owner.kill(signal);
    for (let i = 0; i < 100 && (existsSync(dataDir) || alive(pid)); i++) await sleep(50);
    t.notOk(existsSync(dataDir), `its directory is gone after ${signal}`);
    t.notOk(alive(pid), "and so is the server");
  }
});
