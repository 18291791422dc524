/**
 * The PostgreSQL cluster of a test run: embedded, without durability, in memory. A guard process of its own (guard.ts) sees
 * to it that server and directory go when this process does, however it ends.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import type { Socket } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { acquireEmbedded, createCluster } from "../../src/database/postgres/embedded.ts";
import { makeScratch } from "./scratch.ts";

export interface TestCluster {
  /** URL of the database `postgres` of this server, as its superuser. */
  adminUrl: string;
  /** A directory that goes with it, for whatever else the run leaves. */
  scratch: string;
  /** Ends the server and removes its directory. Twice is harmless. */
  stop(): Promise<void>;
}

/** Creates and starts the cluster: about a second. */
export async function startCluster(): Promise<TestCluster> {
  const scratch = await makeScratch();
  const dataDir = join(scratch, "pg");
  const guard = startGuard(scratch);
  let stopping: Promise<void> | undefined;
  try {
    await createCluster(dataDir, { fast: true });
    const server = await acquireEmbedded(dataDir, { fast: true });
    const { host, port } = server.connection("postgres");
    const adminUrl = socketUrl("postgres", host, port);
    const stop = async () => {
      await server.release().catch(() => {}); // the guard ends what this could not
      await endGuard(guard);
    };
    return {
      adminUrl,
      scratch,
      stop: () => {
        stopping ??= stop();
        return stopping;
      },
    };
  } catch (error) {
    await endGuard(guard);
    throw error;
  }
}

/** The URL of a database behind a socket, as its superuser. */
export function socketUrl(database: string, directory: string, port: number): string {
  // "localhost" only because a URL with a user must have a host; `host` below is the one that counts.
  return `postgresql://postgres@localhost/${database}?host=${encodeURIComponent(directory)}&port=${port}`;
}

/** In a session of its own, so that Ctrl-C ends the tests and not the guard; it acts when its standard input ends. */
export function startGuard(scratch: string): ChildProcess {
  const program = fileURLToPath(new URL("guard.js", import.meta.url));
  const guard = spawn(process.execPath, [program, scratch], { stdio: ["pipe", "ignore", "inherit"], detached: true });
  guard.unref();
  (guard.stdin as Socket).unref();
  return guard;
}

export async function endGuard(guard: ChildProcess): Promise<void> {
  if (guard.exitCode !== null || guard.signalCode !== null) return;
  guard.ref();
  const gone = once(guard, "exit");
  guard.stdin?.end();
  await gone;
}
