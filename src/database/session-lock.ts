/** A lock that is held by a connection to the database, and so dies with its holder. */
import { hostname } from "node:os";
import type { Session } from "./database.ts";

const pollMs = 250;

export interface SessionLock {
  /** What it is about, in the name that its holder is seen under: `sync`. */
  what: string;
  /** Its number as an SQL expression of the parameter $1. */
  key: string;
  value: string;
  /** How long it is waited for. */
  waitMs: number;
  clock: { nowMs(): number; wait(ms: number): Promise<void> };
  /** Called when it is taken, before it is waited for. @param holder who has it. */
  onWait?(holder: string): void;
  /** The error to throw when it is still taken after that time. */
  busy(holder: string): Error;
}

/** Takes the lock on `session`, runs `work`, and lets it go. @throws what `busy` makes when somebody else has it for too long. */
export async function withSessionLock<T>(session: Session, lock: SessionLock, work: () => Promise<T>): Promise<T> {
  const { clock } = lock;
  const deadline = clock.nowMs() + lock.waitMs;
  for (let n = 0; !(await tryLock(session, lock)); n++) {
    if (clock.nowMs() >= deadline) throw lock.busy(await holder(session, lock));
    if (n === 0 && lock.onWait !== undefined) lock.onWait(await holder(session, lock));
    await clock.wait(pollMs);
  }
  // Whoever finds the lock taken sees this name (63 bytes at most).
  await session.run("/* withSessionLockName */ SELECT set_config('application_name', $1, false)", [
    `sandpiper ${lock.what} pid ${process.pid} on ${hostname().slice(0, 20)}`,
  ]);
  try {
    return await work();
  } finally {
    // A broken connection has let go of the lock already.
    await session
      .run(
        `/* withSessionLockEnd */ SELECT pg_advisory_unlock(${lock.key}), set_config('application_name', 'sandpiper', false)`,
        [lock.value],
      )
      .catch(() => {});
  }
}

async function tryLock(session: Session, { key, value }: SessionLock): Promise<boolean> {
  return (await session.one<{ ok: boolean }>(`/* tryLock */ SELECT pg_try_advisory_lock(${key}) AS ok`, [value]))!.ok;
}

async function holder(session: Session, { key, value }: SessionLock): Promise<string> {
  const row = await session.one<{ name: string }>(
    `/* holder */ SELECT a.application_name AS name FROM pg_locks l JOIN pg_stat_activity a USING (pid)
     WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted AND a.datname = current_database()
       AND ((l.classid::bigint << 32) | l.objid::bigint) = ${key}`,
    [value],
  );
  return row?.name || "it has just ended";
}
