/** One pull into a directory at a time: a lock in the database, which dies with its holder. */

import { lstat, realpath } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import type { Session } from "../database/database.ts";
import { pullLock } from "../database/locks.ts";
import { withSessionLock } from "../database/session-lock.ts";
import { SandpiperError } from "../errors.ts";
import { storage } from "./file-trouble.ts";

/** Long enough for a large pull to be waited for; cron must not pile up behind one that hangs. */
const waitMs = 3_600_000;

/**
 * Takes the lock of a directory on `session`, runs `work`, and lets it go.
 *
 * @param onWait is told who has it, when it is waited for.
 * @throws `busy` after an hour.
 */
export async function withDirectoryLock<T>(
  session: Session,
  directory: string,
  onWait: (holder: string) => void,
  work: () => Promise<T>,
): Promise<T> {
  // The inode alone: by whatever path or mount it is reached. Two directories that have the same only wait for each other.
  const { ino } = await storage(
    directory,
    realpath(directory).then((path) => lstat(path, { bigint: true })),
  );
  return withSessionLock(
    session,
    {
      what: "pull",
      key: pullLock,
      value: String(ino),
      waitMs,
      clock: { nowMs: () => performance.now(), wait: async (ms) => sleep(ms) },
      onWait,
      busy: (holder) =>
        new SandpiperError("busy", `another pull into ${directory} is running (${holder})`, {
          hint: "Let it finish, or see why it does not.",
        }),
    },
    work,
  );
}
