/** The cluster on disk and its server process: creating, starting and stopping. Who uses it is not known here. */

import { randomBytes } from "node:crypto";
import { constants, existsSync, statfsSync } from "node:fs";
import { open, readdir, readFile, readlink, realpath, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { SandpiperError } from "../../errors.ts";
import { writeAccessRules } from "./access-rules.ts";
import { type Account, accountFor, prepareBinaries, run } from "./binaries.ts";
import {
  closeToOthers,
  clusterExists,
  type Layout,
  layoutOf,
  makeDataDir,
  makeOwned,
  port,
  removeAbandoned,
  removeDataDir,
  syncDirectory,
} from "./data-dir.ts";
import { logBytesOn, maxLogBytes, sizeOf } from "./disk.ts";

export interface ClusterOptions {
  /** No durability at all: for tests only. */
  fast?: boolean;
}

/** Written into postgresql.conf once, so that an operator can tune them there. */
const settings = {
  max_connections: "100",
  shared_buffers: "128MB",
  max_wal_size: `${maxLogBytes / 2 ** 30}GB`,
  checkpoint_timeout: "15min",
  wal_compression: "on",
  // No replication is needed, and a bulk load into a new table then writes no WAL.
  wal_level: "minimal",
  max_wal_senders: "0",
  jit: "off",
  timezone: "UTC",
  log_timezone: "UTC",
  // One file per weekday, begun anew each week: bounded without anyone's care.
  logging_collector: "on",
  log_filename: "postgres-%a.log",
  log_truncate_on_rotation: "on",
  log_rotation_age: "1d",
  log_rotation_size: "0",
};

const roles = `CREATE DATABASE sandpiper;
CREATE ROLE sandpiper_app LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;
`;

/** What createCluster does: all in a temporary directory, then renamed, so that one of two processes at once wins. */
export async function initCluster(dataDir: string, options: ClusterOptions): Promise<void> {
  const layout = layoutOf(dataDir);
  if (await clusterExists(dataDir)) return;
  const account = await accountFor(layout.cluster);
  const made = await makeDataDir(layout.dataDir, account);
  try {
    await fillCluster(layout, account, options);
  } catch (error) {
    await removeDataDir(layout.dataDir, made).catch(() => {});
    throw error;
  }
}

async function fillCluster(layout: Layout, account: Account | undefined, options: ClusterOptions): Promise<void> {
  const binaries = await prepareBinaries(layout.dataDir, account);
  await removeAbandoned(layout.dataDir);
  const temporary = join(layout.dataDir, `postgres-new-${process.pid}-${randomBytes(4).toString("hex")}`);
  try {
    await makeOwned(temporary, account);
    // By PGDATA: an argument would pass through a shell that expands it.
    const program = { binaries, account, cwd: layout.dataDir, env: { PGDATA: temporary } };
    const flags = ["--locale=C", "--encoding=UTF8", "--no-instructions", "--username=postgres", "--auth=peer"];
    for (const [name, value] of Object.entries(settings)) flags.push("--set", `${name}=${value}`);
    const init = await run({ ...program, name: "initdb", args: options.fast ? [...flags, "--no-sync"] : flags });
    if (init.code !== 0) throw failure("PostgreSQL could not create its data directory.", init.output, layout);
    const single = ["--single", "-D", temporary, "-c", "exit_on_error=on", ...(options.fast ? ["-F"] : []), "postgres"];
    const made = await run({ ...program, name: "postgres", args: single, input: roles });
    if (made.code !== 0) throw failure("PostgreSQL could not create the database of sandpiper.", made.output, layout);
    await rename(temporary, layout.cluster).catch(async (error: NodeJS.ErrnoException) => {
      if (!(await clusterExists(layout.dataDir)))
        throw failure(`${layout.cluster} could not be put in place.`, error.message, layout);
    });
    if (!options.fast) await syncDirectory(layout.dataDir);
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}

/** `started`, or `again` when another server of this cluster is still coming or going. */
export async function startServer(
  layout: Layout,
  options: ClusterOptions,
  seconds: number,
): Promise<"started" | "again"> {
  const account = await accountFor(layout.cluster);
  await makeDataDir(layout.dataDir, account);
  const binaries = await prepareBinaries(layout.dataDir, account);
  await makeOwned(layout.socketDir, account);
  await closeToOthers(layout.cluster, 0o700);
  await removeStalePids(layout);
  await removeOldLogs(join(layout.cluster, "log"));
  const offset = await makeStartLog(layout.startLog, account);
  const flags = [`-c listen_addresses= -c port=${port} -c unix_socket_directories=${quoted(listed(layout.socketDir))}`];
  for (const [setting, path] of await writeAccessRules(layout, account)) flags.push(`-c ${setting}=${quoted(path)}`);
  flags.push("-c unix_socket_permissions=0700");
  const logBytes = logBytesOn((await sizeOf(layout.cluster)).total);
  // Beyond that it grows while a checkpoint takes its time: there must be little of that on a small disk.
  if (logBytes < maxLogBytes)
    flags.push(`-c max_wal_size=${logBytes / 2 ** 20}MB`, "-c checkpoint_completion_target=0.1");
  if (options.fast) flags.push("-c fsync=off -c synchronous_commit=off -c full_page_writes=off");
  const wait = String(Math.max(1, Math.ceil(seconds)));
  const args = ["start", "-s", "-w", "-t", wait, "-l", "postgres-start.log", "-o", flags.join(" ")];
  const env = { PGDATA: layout.cluster };
  const { code, output } = await run({
    name: "pg_ctl",
    args,
    env,
    binaries,
    account,
    cwd: layout.dataDir,
    detached: true,
  });
  if (code === 0) return "started";
  const log = (await readFile(layout.startLog)).subarray(offset).toString();
  // The pid file of a running postmaster, or of one that is about to write it, the memory of backends that are about to notice
  // the death of theirs, a recovery that takes longer than pg_ctl waits.
  if (
    /lock file .* already exists|PID file .* is empty|invalid data in PID file|pre-existing shared memory block|did not start in time/.test(
      log + output,
    )
  ) {
    return "again";
  }
  const serverLog = await newestLog(layout);
  if (wasReady(log, serverLog)) return "again";
  const lastStart = log.includes("Future log output")
    ? serverLog.slice(serverLog.lastIndexOf("starting PostgreSQL"))
    : "";
  throw failure(
    "The embedded PostgreSQL could not be started.",
    `${log}${lastStart}${output}`,
    layout,
    layout.startLog,
  );
}

/**
 * Stops the running server, ending its sessions, and waits until it is gone. Not by pg_ctl: when another process starts a new
 * server at that very moment, pg_ctl takes the new pid file for the old one and waits for a minute.
 */
export async function stopServer(layout: Layout): Promise<void> {
  const pid = await runningPid(layout);
  if (pid === undefined) return;
  try {
    process.kill(pid, "SIGINT"); // PostgreSQL's fast shutdown
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ESRCH") return;
    throw error;
  }
  const deadline = Date.now() + 60_000;
  while ((await runningPid(layout)) === pid) {
    if (Date.now() > deadline) {
      throw failure(
        "The embedded PostgreSQL could not be stopped.",
        `process ${pid} is still there`,
        layout,
        join(layout.cluster, "log"),
      );
    }
    await sleep(10);
  }
}

/** The process that the pid file names: the last thing that a server does is to remove it. */
async function runningPid(layout: Layout): Promise<number | undefined> {
  const text = await readFile(join(layout.cluster, "postmaster.pid"), "utf8").catch(() => "");
  const pid = Number(text.split("\n")[0]);
  return Number.isInteger(pid) && pid > 0 ? pid : undefined;
}

/** Makes the log that a starting server writes to, and returns where what it will write begins. */
async function makeStartLog(path: string, account: Account | undefined): Promise<number> {
  const { O_WRONLY, O_CREAT, O_APPEND, O_NOFOLLOW } = constants;
  const handle = await open(path, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW, 0o600);
  try {
    if (account !== undefined) await handle.chown(account.uid, account.gid);
    const { size } = await handle.stat();
    if (size < 256 * 1024) return size;
    await handle.truncate();
    return 0;
  } finally {
    await handle.close();
  }
}

/**
 * Removes the pid files of a killed server when no process works in the cluster. PostgreSQL does so itself unless
 * another process has got the old number by now, as it happens after every restart of a container: then it would
 * refuse to start for ever. Linux only, where a process tells its working directory.
 */
async function removeStalePids(layout: Layout): Promise<void> {
  const pidFile = join(layout.cluster, "postmaster.pid");
  const lockFile = join(layout.socketDir, `.s.PGSQL.${port}.lock`);
  const before = await readFile(pidFile, "utf8").catch(() => undefined);
  if (before === undefined || process.platform !== "linux") return;
  const cluster = await realpath(layout.cluster);
  for (const pid of await readdir("/proc")) {
    if (/^\d+$/.test(pid) && (await readlink(`/proc/${pid}/cwd`).catch(() => "")) === cluster) return;
  }
  // Unless a server was started meanwhile: its file says another time.
  if ((await readFile(pidFile, "utf8").catch(() => undefined)) !== before) return;
  await rm(lockFile, { force: true });
  await rm(pidFile, { force: true });
}

/** A server that never runs past midnight never rotates its log: last week's files are removed here. */
async function removeOldLogs(directory: string): Promise<void> {
  for (const name of await readdir(directory).catch(() => [])) {
    const path = join(directory, name);
    const found = await stat(path).catch(() => undefined); // another process may be at it too
    if (found && Date.now() - found.mtimeMs > 6 * 86_400_000) await rm(path, { force: true });
  }
}

/** A directory as an item of a PostgreSQL list. */
const listed = (path: string) => `"${path.replaceAll('"', '""')}"`;

/** An argument of a shell. */
const quoted = (text: string) => `'${text.replaceAll("'", "'\\''")}'`;

/** The end of the log that the server itself writes. */
async function newestLog(layout: Layout): Promise<string> {
  const directory = join(layout.cluster, "log");
  const names = await readdir(directory).catch(() => []);
  const files = await Promise.all(
    names.map(async (name) => ({ name, at: (await stat(join(directory, name))).mtimeMs })),
  );
  const newest = files.sort((a, b) => b.at - a.at)[0];
  return newest === undefined ? "" : (await readFile(join(directory, newest.name), "utf8")).slice(-65_536);
}

/**
 * Whether a server of this start did run. Another process may have used it and, as the last one out, have
 * stopped it before pg_ctl looked: for pg_ctl that is a failed start.
 */
function wasReady(startLog: string, serverLog: string): boolean {
  const pids = [...startLog.matchAll(/\[(\d+)\] LOG: +redirecting log output/g)].map((match) => match[1]);
  return pids.some((pid) => serverLog.includes(`[${pid}] LOG:  database system is ready to accept connections`));
}

const hints: [RegExp, string][] = [
  // Before the disk: it is "No space left on device" that PostgreSQL says of these, too.
  [
    /(could not|cannot) [^\n]*(shared memory|semaphore)|pre-existing shared memory/,
    "Raise the shared memory limits of this system or container (/dev/shm; docker run --shm-size 256m).",
  ],
  [/Read-only file system|Permission denied/, "Make sure that the user named there may write to the data directory."],
  [/look up effective user/, "Add an entry for this user to /etc/passwd, or run sandpiper as a user that has one."],
  [/invalid permissions/, "Let only its owner enter that directory: chmod 700."],
  [/incompatible with server/, "Use the version of sandpiper that created the data directory."],
  [
    /loading shared libraries/,
    "Install the library named there, or set database.url to a PostgreSQL server of your own.",
  ],
];

/** What must be free for a server to start whatever its log holds, in bytes. */
const startBytes = 64 * 2 ** 20;

/** How much is missing on a disk that has no room for the server to start. */
function spaceHint(directory: string): string {
  const { bavail, bsize } = statfsSync(directory);
  const mb = (bytes: number) => Math.ceil(bytes / 1e6);
  return `Free at least ${mb(Math.max(startBytes - bavail * bsize, 1e6))} MB on the disk of ${directory}, which has ${mb(bavail * bsize)} MB left, and run again: nothing is lost.`;
}

/** One sentence with the server's own reason; the tail of its output is the cause. */
function failure(sentence: string, output: string, { dataDir, cluster }: Layout, where?: string): SandpiperError {
  const tail = output.trim().slice(-4000);
  const reason = /(?:FATAL|PANIC|ERROR|error): +(.+)/.exec(tail)?.[1];
  const known = hints.find(([pattern]) => pattern.test(tail))?.[1];
  const hint =
    known ?? (/No space left on device/.test(tail) ? spaceHint(existsSync(cluster) ? cluster : dataDir) : undefined);
  const look = where === undefined ? "Run again with --log.level debug for the details." : `Look into ${where}.`;
  return new SandpiperError("storage", reason === undefined ? sentence : `${sentence.slice(0, -1)}: ${reason}`, {
    cause: new Error(tail),
    hint: hint ?? look,
  });
}
