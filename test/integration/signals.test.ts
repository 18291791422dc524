/** Every signal, to a server and to a command, with the embedded PostgreSQL that must not be left behind. Real processes. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { type Running, sandpiper, sandpiperProgram, startSandpiper, startServer } from "../harness/process.ts";
import { scratch } from "../harness/scratch.ts";

t.setTimeout(240_000);

async function until(what: string, condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 30_000;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`it did not come to that: ${what}`);
    await sleep(20);
  }
}

/** Whether a process listens on the port of Node's debugger: in its own list of sockets, so that others do not count. */
function debugs(pid: number): boolean {
  const listening = readFileSync(`/proc/${pid}/net/tcp`, "utf8").split("\n");
  return listening.some((line) => / 0100007F:240D 00000000:0000 0A /.test(line));
}

t.test("signals", async (t) => {
  const cwd = await scratch(t);
  const made = await sandpiper(["init", "--role", "primary", "--company", "ABC Brakes"], { cwd });
  t.equal(made.code, 0, made.stderr);
  const postgresRuns = () => existsSync(join(cwd, "sandpiper-data/postgres/postmaster.pid"));
  t.notOk(postgresRuns());
  const isWell = (url: string) =>
    fetch(`${url}/healthz`).then(
      ({ status }) => status === 200,
      () => false,
    );
  const debuggedBefore = debugs(process.pid);

  await t.test("a server lives through those that do not ask for an end", async (t) => {
    const server = await startServer({ cwd });
    for (const [signal, event] of [
      ["SIGHUP", "server.nothing_to_reload"],
      ["SIGUSR1", "server.signal_ignored"],
      ["SIGUSR2", "server.signal_ignored"],
    ] as const) {
      process.kill(server.pid, signal);
      await until(event, () => server.stderr().includes(event));
      t.ok(await isWell(server.url), signal);
    }
    process.kill(server.pid, "SIGPIPE");
    t.ok(await isWell(server.url), "SIGPIPE");
    t.notMatch(server.stderr(), "Debugger");
    t.equal(debugs(server.pid), debuggedBefore);
    t.match(server.stderr(), '"signal":"SIGUSR2"');
    t.same(await server.stop("SIGTERM"), { code: 0, signal: null });
    t.notOk(postgresRuns());
  });

  await t.test("also while it starts", async (t) => {
    const server = startSandpiper(["serve", "--server.port", "0"], { cwd });
    await until("PostgreSQL starts", postgresRuns);
    server.kill("SIGHUP");
    server.kill("SIGUSR2");
    await until("it listens", () => server.stderr().includes("server.listening"));
    server.kill("SIGINT");
    t.same(await server.exited, { code: 0, signal: null });
    t.notOk(postgresRuns());
  });

  await t.test("asked for an end while it starts, it ends", async (t) => {
    const server = startSandpiper(["serve", "--server.port", "0"], { cwd });
    await until("PostgreSQL starts", postgresRuns);
    server.kill("SIGTERM");
    t.match(await server.exited, { signal: null });
    t.notOk(postgresRuns());
  });

  /** A server with a request that never ends. */
  const busyServer = async () => {
    const server = await startServer({ cwd });
    const socket = connect(Number(new URL(server.url).port), "127.0.0.1");
    socket.on("error", () => {});
    socket.write(
      "POST /v1/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{",
    );
    await once(socket, "connect");
    await sleep(300);
    return server;
  };

  await t.test("asked twice, a server does not wait for what runs, and leaves all the same in order", async (t) => {
    for (const [first, second] of [
      ["SIGTERM", "SIGTERM"],
      ["SIGINT", "SIGINT"],
      ["SIGQUIT", "SIGTERM"],
    ] as const) {
      const server = await busyServer();
      process.kill(server.pid, first);
      await until("it stops", () => server.stderr().includes("server.stopping"));
      const begun = performance.now();
      t.equal(await Promise.race([server.exited, sleep(1500, "waits")]), "waits", "it waits for the request");
      t.same(await server.stop(second), { code: 0, signal: null });
      t.ok(performance.now() - begun < 15_000, "less long than server.shutdown_seconds");
      t.match(server.stderr(), "server.stopped");
      t.notOk(postgresRuns(), `${first} ${second}`);
    }
  });

  await t.test("asked three times, it ends at once", async (t) => {
    const program = `import { Signals } from ${JSON.stringify(new URL("../../src/cli/signals.js", import.meta.url).href)};
      new Signals(); setInterval(() => {}, 1000); process.stdout.write("ready");`;
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"] as const) {
      const child = spawn(process.execPath, ["--input-type=module", "-e", program], {
        stdio: ["ignore", "pipe", "inherit"],
      });
      t.teardown(() => child.kill("SIGKILL"));
      await once(child.stdout, "data");
      for (let i = 0; i < 2; i++) {
        child.kill(signal);
        t.equal(await Promise.race([once(child, "exit"), sleep(300, "alive")]), "alive");
      }
      child.kill(signal);
      t.same(await once(child, "exit"), [null, signal]);
    }
  });

  /** Waits for a password, with PostgreSQL running. */
  const waitingCommand = async (): Promise<Running> => {
    const command = startSandpiper(["user", "add", "x", "--role", "admin"], { cwd, openInput: true });
    await until("PostgreSQL runs", () => postgresRuns());
    await sleep(1500);
    return command;
  };

  await t.test("a command ends in order, and PostgreSQL with it", async (t) => {
    for (const [signal, code] of [
      ["SIGHUP", 129],
      ["SIGINT", 130],
      ["SIGQUIT", 131],
      ["SIGTERM", 143],
    ] as const) {
      const command = await waitingCommand();
      for (const ignored of ["SIGUSR1", "SIGUSR2", "SIGPIPE"] as const) command.kill(ignored);
      await sleep(200);
      t.equal(debugs(command.pid), debuggedBefore);
      command.kill(signal);
      t.same(await command.exited, { code, signal: null }, signal);
      t.equal(command.stderr(), `sandpiper: stopped by ${signal}\nWhat was not committed is rolled back.\n`);
      t.notOk(postgresRuns(), signal);
    }
  });

  await t.test("a terminal that closes", async (t) => {
    const command = [process.execPath, sandpiperProgram, "user", "add", "x", "--role", "admin"].join(" ");
    const terminal = spawn("script", ["-qec", `exec ${command}`, "/dev/null"], {
      cwd,
      env: { PATH: process.env.PATH, TERM: "xterm" },
      stdio: ["pipe", "pipe", "ignore"],
    });
    let screen = "";
    terminal.stdout.on("data", (piece) => {
      screen += piece;
    });
    await until("it asks", () => screen.includes("Password"));
    t.ok(postgresRuns());
    terminal.kill("SIGKILL"); // as ssh does when its connection is gone
    await until("PostgreSQL has been stopped", () => !postgresRuns());
    t.pass("PostgreSQL has been stopped");
  });
});
