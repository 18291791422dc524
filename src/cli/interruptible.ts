/** A database that stops at the next statement once the command is told to stop (signals.ts): the transaction is then rolled back. */
import type { Database, Session } from "../database/database.ts";

/** As `db`, but every call throws the signal's reason once it is aborted. A commit that has begun is carried out. */
export function interruptible(db: Database, signal: AbortSignal): Database {
  const guarded = <Of extends Pick<Database, "query" | "one" | "run">>(of: Of) => ({
    query: (<Row>(text: string, values?: readonly unknown[]) =>
      check(() => of.query<Row>(text, values))) as Of["query"],
    one: (<Row>(text: string, values?: readonly unknown[]) => check(() => of.one<Row>(text, values))) as Of["one"],
    run: ((text: string, values?: readonly unknown[]) => check(() => of.run(text, values))) as Of["run"],
  });
  const check = async <T>(work: () => Promise<T>): Promise<T> => {
    signal.throwIfAborted();
    return work();
  };
  const wrap = (session: Session): Session => ({
    ...session,
    ...guarded(session),
    transaction: (work, options) => check(() => session.transaction((tx) => work(wrap(tx)), options)),
  });
  return {
    ...guarded(db),
    session: (work) => check(() => db.session((session) => work(wrap(session)))),
    transaction: (work, options) => check(() => db.transaction((tx) => work(wrap(tx)), options)),
    as: (scope) => interruptible(db.as(scope), signal),
    disk: db.disk,
    close: () => db.close(),
  };
}
