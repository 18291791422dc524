import { spawn } from "node:child_process";
import { once } from "node:events";
import { access, open, readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { interruptible } from "../../src/cli/interruptible.ts";
import { SandpiperError } from "../../src/errors.ts";
import { sandpiperProgram } from "../harness/process.ts";
import { sandbox } from "./sandbox.ts";

t.setTimeout(120_000);

const connections = "SELECT pid FROM pg_stat_activity WHERE datname = current_database()";

for (const [signal, code] of [
  ["SIGHUP", 129],
  ["SIGINT", 130],
  ["SIGQUIT", 131],
  ["SIGTERM", 143],
] as const) {
  t.test(`${signal} ends a command that waits with ${code}`, async (t) => {
    const { directory, databaseUrl, withDatabase } = await sandbox(t, "primary");
    await withDatabase(async (db) => {
      const pids = async () => new Set((await db.query<{ pid: number }>(connections)).map(({ pid }) => pid));
      const before = await pids();
      // Its standard input stays open, and silent.
      const child = spawn(process.execPath, [sandpiperProgram, "user", "add", "x", "--role", "admin", "--json"], {
        cwd: directory,
        env: { PATH: process.env.PATH, SANDPIPER_DATABASE_URL: databaseUrl },
        stdio: ["pipe", "ignore", "pipe"],
      });
      t.teardown(() => child.kill("SIGKILL"));
      let errors = "";
      child.stderr.on("data", (piece) => {
        errors += piece;
      });
      // Once it is connected it waits for the password, or is about to.
      while ([...(await pids())].every((pid) => before.has(pid))) await sleep(50);
      child.kill(signal);
      t.same(await once(child, "close"), [code, null]);
      t.equal(JSON.parse(errors).error.message, `stopped by ${signal}`);
    });
  });
}

t.test("a signal in a process's last moments does not decide how it ends", async (t) => {
  // Told when the program has done everything: what is sent then comes while Node takes itself down.
  const preload = `data:text/javascript,import { spawn } from "node:child_process";
    process.on("exit", () => spawn("kill", ["-HUP", String(process.pid)], { detached: true, stdio: "ignore" }));`;
  const ends = [];
  for (let i = 0; i < 10; i++) {
    const child = spawn(process.execPath, ["--import", preload, sandpiperProgram, "--version"], { stdio: "ignore" });
    ends.push(await once(child, "close"));
  }
  t.same(
    ends,
    ends.map(() => [0, null]),
  );
});

t.test("a large publication that is interrupted is rolled back", async (t) => {
  const { directory, databaseUrl, json } = await sandbox(t, "primary");
  await json(["slice", "add", "Pads", "--type", "aces-file"]);
  const file = await open(join(directory, "large.bin"), "w");
  const random = Buffer.alloc(1 << 20);
  for (let n = 0; n < 150; n++) {
    for (let at = 0; at < random.length; at += 4) random.writeUInt32LE(Math.floor(Math.random() * 2 ** 32), at);
    await file.write(random);
  }
  await file.close();
  const preload = `data:text/javascript,import { subscribe } from "node:diagnostics_channel";
    subscribe("sandpiper:step", (step) => { if (step.name === "l.add") setTimeout(() => process.kill(process.pid, "SIGINT"), 50); });`;
  const args = ["--import", preload, sandpiperProgram, "add", "--slice", "pads", "large.bin"];
  const child = spawn(process.execPath, args, {
    cwd: directory,
    env: { PATH: process.env.PATH, SANDPIPER_DATABASE_URL: databaseUrl },
    stdio: ["ignore", "pipe", "pipe"],
  });
  t.teardown(() => child.kill("SIGKILL"));
  t.same(await once(child, "close"), [130, null]);
  t.match(await json(["list"]), [{ grains: 0 }]);
});

t.test("no secret of the configuration is ever printed", async (t) => {
  const { run, directory } = await sandbox(t, "primary");
  const text = await readFile(join(directory, "sandpiper.yaml"), "utf8");
  const secrets = [...text.matchAll(/"([A-Za-z0-9_-]{43})"/g)].map((match) => match[1]!);
  t.equal(secrets.length, 3);
  for (const args of [
    ["list"],
    ["company", "list", "--log.level", "trace"],
    ["company", "add", "Bob"],
    ["list", "--x"],
  ]) {
    const { stdout, stderr } = await run(args);
    for (const secret of secrets) t.notMatch(stdout + stderr, secret, args.join(" "));
  }
  await access(join(directory, "sandpiper.yaml"));
});

t.test("a database that heeds a signal", async (t) => {
  const stop = new AbortController();
  const reason = new SandpiperError("interrupted", "stopped");
  const calls: string[] = [];
  const session = {
    query: async (text: string) => void calls.push(text),
    one: async (text: string) => void calls.push(text),
    run: async (text: string) => void calls.push(text),
    transaction: async (work: (tx: unknown) => Promise<unknown>) => work(session),
    backendPid: 7,
  };
  const raw = {
    ...session,
    session: async (work: (s: unknown) => Promise<unknown>) => work(session),
    close: async () => void calls.push("close"),
  };
  const db = interruptible(raw as never, stop.signal);
  await db.transaction(async (tx) => {
    await tx.run("one");
    t.equal(tx.backendPid, 7);
    stop.abort(reason);
    await t.rejects(tx.query("two"), reason);
    await t.rejects(
      tx.transaction(async () => {}),
      reason,
    );
  });
  await t.rejects(db.run("three"), reason);
  await t.rejects(
    db.session(async () => {}),
    reason,
  );
  await db.close();
  t.same(calls, ["one", "close"]);
});
