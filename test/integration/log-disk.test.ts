/** A log that cannot be written keeps nobody from being served, and no signal from being heeded. Real servers. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import t, { type Test } from "tap";
import { freePort } from "../harness/free-port.ts";
import { type Running, sandpiper, sandpiperProgram, startSandpiper } from "../harness/process.ts";
import { scratch } from "../harness/scratch.ts";
import { mountSmall } from "../harness/small-disk.ts";

t.setTimeout(300_000);

const isWell = (port: number) =>
  fetch(`http://127.0.0.1:${port}/healthz`, { signal: AbortSignal.timeout(2000) }).then(
    ({ status }) => status === 200,
    () => false,
  );

async function untilWell(port: number): Promise<void> {
  const deadline = Date.now() + 60_000;
  while (!(await isWell(port))) {
    if (Date.now() > deadline) throw new Error("the server does not answer");
    await sleep(50);
  }
}

/** A primary with an embedded database. */
async function makePrimary(t: Test): Promise<{ cwd: string; postgresRuns: () => boolean }> {
  const cwd = await scratch(t);
  const made = await sandpiper(["init", "--role", "primary", "--company", "ABC Brakes"], { cwd });
  if (made.code !== 0) throw new Error(made.stderr);
  return { cwd, postgresRuns: () => existsSync(join(cwd, "sandpiper-data/postgres/postmaster.pid")) };
}

async function endsInOrder(t: Test, server: Running, postgresRuns: () => boolean): Promise<void> {
  t.ok(postgresRuns());
  server.kill("SIGTERM");
  const ended = await Promise.race([server.exited, sleep(20_000, "never")]);
  t.same(ended, { code: 0, signal: null }, "SIGTERM is heeded");
  t.notOk(postgresRuns(), "the embedded PostgreSQL has been stopped");
}

t.test("a log on a disk that is full keeps nobody from being served", async (t) => {
  const { cwd, postgresRuns } = await makePrimary(t);
  const port = await freePort();
  const args = ["serve", "--server.port", String(port)];
  const server = startSandpiper(args, { cwd, into: { stderr: "/dev/full" } });
  await untilWell(port);
  for (let i = 0; i < 20; i++) t.ok(await isWell(port));
  await endsInOrder(t, server, postgresRuns);
});

t.test("a disk that fills up, and has space again", async (t) => {
  const mount = join(await scratch(t), "small");
  const disk = mountSmall(t, mount, "64k");
  if (disk === undefined) return t.skip("a small file system cannot be mounted here, which takes root", () => {});
  const { cwd, postgresRuns } = await makePrimary(t);
  const port = await freePort();
  const log = join(mount, "log");
  const server = startSandpiper(["serve", "--server.port", String(port)], { cwd, into: { stderr: log } });
  await untilWell(port);
  const asked = 600;
  for (let i = 0; i < asked; i++) t.ok(await isWell(port));
  const before = readFileSync(log, "utf8");
  t.ok(before.length > 50_000 && before.split("\n").length < asked, "it is full");
  disk.resize("1m");
  t.ok(await isWell(port));
  const since = () => readFileSync(log, "utf8").slice(before.lastIndexOf("\n") + 1);
  // A request may be answered before its line is written.
  const isWhole = (text: string) => /"log\.dropped".*\n.*"\/healthz".*\n$/.test(text);
  for (let i = 0; i < 200 && !isWhole(since()); i++) await sleep(50);
  const whole = since();
  const after = whole.trimEnd().split("\n").slice(-2);
  const [report, line] = after.map((text) => JSON.parse(text));
  t.match(report, { event: "log.dropped", level: 40 });
  t.match(line, { path: "/healthz", status: 200 });
  const kept = `${before}${whole}`
    .split("\n")
    .filter((text) => text.includes('"/healthz"') && text.endsWith("}")).length;
  t.ok(report.lines > 50 && kept >= asked - report.lines, "each line was written, or counted as dropped");
  await endsInOrder(t, server, postgresRuns);
});

t.test("a reader of the log that stops reading, and one that goes away", async (t) => {
  const { cwd, postgresRuns } = await makePrimary(t);
  const port = await freePort();
  const child = spawn(process.execPath, [sandpiperProgram, "serve", "--server.port", String(port)], {
    cwd,
    env: { PATH: process.env.PATH },
    stdio: ["ignore", "ignore", "pipe"],
  });
  t.teardown(() => child.kill("SIGKILL"));
  await untilWell(port);
  for (let i = 0; i < 600; i++) await isWell(port); // more than a pipe takes
  t.ok(await isWell(port), "nobody reads");
  let read = "";
  child.stderr.on("data", (piece) => {
    read += piece;
  });
  for (let i = 0; i < 100 && (read.match(/healthz/g)?.length ?? 0) < 600; i++) await sleep(50);
  t.ok((read.match(/healthz/g)?.length ?? 0) >= 600, "nothing was lost by that");
  child.stderr.destroy();
  for (let i = 0; i < 5; i++) t.ok(await isWell(port), "whoever read has gone");
  child.kill("SIGTERM");
  t.same(await once(child, "exit"), [0, null]);
  t.notOk(postgresRuns());
});
