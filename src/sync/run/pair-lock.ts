/** One sync of a (secondary, primary) pair at a time: a session lock in the database, which dies with its holder. */

import type { Company } from "../../companies/company.ts";
import type { Session } from "../../database/database.ts";
import { pairLock } from "../../database/locks.ts";
import { withSessionLock } from "../../database/session-lock.ts";
import { SandpiperError } from "../../errors.ts";
import type { Outside } from "./outside.ts";

/**
 * Takes the lock of this primary on `session`, waiting up to `waitSeconds`, runs `work`, and lets it go.
 *
 * @throws `busy` saying who holds it.
 */
export function withPairLock<T>(
  session: Session,
  company: Company,
  waitSeconds: number,
  outside: Pick<Outside, "nowMs" | "wait">,
  work: () => Promise<T>,
): Promise<T> {
  return withSessionLock(
    session,
    {
      what: "sync",
      key: pairLock,
      value: company.id,
      waitMs: waitSeconds * 1000,
      clock: outside,
      busy: (holder) =>
        new SandpiperError("busy", `another sync with ${company.name} is running (${holder})`, {
          hint: "Let it finish, or wait for it with --wait SECONDS.",
        }),
    },
    work,
  );
}
