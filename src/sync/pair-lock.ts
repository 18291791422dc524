/** One sync of a (secondary, primary) pair at a time: a session lock in the database, which dies with its holder. */
import { hostname } from "node:os";
import type { Session } from "../database.ts";
import { SandpiperError } from "../errors.ts";
import type { Company } from "../subscriptions/company.ts";
import type { Outside } from "./outside.ts";

const lockKey = "hashtextextended('sandpiper:sync:' || $1::text, 0)";
const pollMs = 250;

/**
 * Takes the lock of this primary on `session`, waiting up to `waitSeconds`, runs `work`, and lets it go.
 *
 * @throws `busy` saying who holds it.
 */
export async function withPairLock<T>(
  session: Session,
  company: Company,
  waitSeconds: number,
  outside: Pick<Outside, "nowMs" | "wait">,
  work: () => Promise<T>,
): Promise<T> {
  const deadline = outside.nowMs() + waitSeconds * 1000;
  while (!(await tryLock(session, company.id))) {
    if (outside.nowMs() >= deadline) {
      throw new SandpiperError(
        "busy",
        `another sync with ${company.name} is running (${await holder(session, company.id)})`,
        {
          hint: "Let it finish, or wait for it with --wait SECONDS.",
        },
      );
    }
    await outside.wait(pollMs);
  }
  // Whoever finds the lock taken sees this name (63 bytes at most).
  await session.run("SELECT set_config('application_name', $1, false)", [
    `sandpiper sync pid ${process.pid} on ${hostname().slice(0, 20)}`,
  ]);
  try {
    return await work();
  } finally {
    // A broken connection has let go of the lock already.
    await session
      .run(`SELECT pg_advisory_unlock(${lockKey}), set_config('application_name', 'sandpiper', false)`, [company.id])
      .catch(() => {});
  }
}

async function tryLock(session: Session, companyId: string): Promise<boolean> {
  return (await session.one<{ ok: boolean }>(`SELECT pg_try_advisory_lock(${lockKey}) AS ok`, [companyId]))!.ok;
}

async function holder(session: Session, companyId: string): Promise<string> {
  const row = await session.one<{ name: string }>(
    `SELECT a.application_name AS name FROM pg_locks l JOIN pg_stat_activity a USING (pid)
     WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted AND a.datname = current_database()
       AND ((l.classid::bigint << 32) | l.objid::bigint) = ${lockKey}`,
    [companyId],
  );
  return row?.name || "it has just ended";
}
