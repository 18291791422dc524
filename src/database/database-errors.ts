/** What the database says is wrong, in our words. */
import type pg from "pg";
import { SandpiperError } from "../errors.ts";

/** The database is behind a pooler that would break session locks. */
export const throughPooler = (mode: string) =>
  new SandpiperError("config", `database.url leads to a pooler in ${mode} mode, where session locks do not hold`, {
    hint: "Use the database's own port, or a pool in session mode.",
  });

/** Whether it is what the server answered, which alone has a severity: its class would load the driver for commands that need no database. */
const isAnswer = (error: unknown): error is pg.DatabaseError => error instanceof Error && "severity" in error;

/** What the database itself said, if that is what `error` is or comes from. */
function said(error: unknown): pg.DatabaseError | undefined {
  const cause = error instanceof SandpiperError ? error.cause : error;
  return isAnswer(cause) ? cause : undefined;
}

/** The unique constraint that an insert ran into, if that is what `error` is. */
export function violatedConstraint(error: unknown): string | undefined {
  const answer = said(error);
  return answer?.code === "23505" ? answer.constraint : undefined;
}

/** Whether the database said that its disk is full. */
export const isDiskFull = (error: unknown): boolean =>
  said(error)?.code === "53100" && !lacksSharedMemory(said(error)!);

/** PostgreSQL has one code for a full disk and a full /dev/shm. */
const lacksSharedMemory = ({ code, message }: pg.DatabaseError): boolean =>
  (code === "53100" || code === "53200") && /shared memory/.test(message);

/** Whether the database said that what a row refers to is not there (any more). */
export const refersToNothing = (error: unknown): boolean => said(error)?.code === "23503";

/** What the database said, as our error: what is wrong with storage is `storage`, a taken name or a removal meanwhile is `conflict`. */
export function translate(error: unknown): unknown {
  if (error instanceof SandpiperError) return error;
  const message = error instanceof Error ? error.message || String((error as { code?: string }).code) : String(error);
  const because = (text: string, hint: string) => new SandpiperError("storage", text, { cause: error, hint });
  if (isAnswer(error)) {
    const code = error.code ?? "";
    if (code === "23505")
      return new SandpiperError("conflict", "something with the same name or id exists already", {
        cause: error,
        hint: "Choose another.",
      });
    if (code === "23503")
      return new SandpiperError("conflict", "something that this needs was removed at the same time", {
        cause: error,
        hint: "Look at what is left, then run again.",
      });
    if (lacksSharedMemory(error))
      return because(
        `the database failed: ${message}`,
        "Give its system or container more shared memory (/dev/shm; docker run --shm-size 256m).",
      );
    if (code === "53100")
      return because("the database's disk is full", "Free some space on it and run again: nothing was changed.");
    if (code === "55P03")
      return because(
        "storage busy: the database waited 10 seconds for a lock",
        "Something else holds the row or table; run again in a while.",
      );
    if (code === "42501")
      return because(
        `the database refuses: ${message}`,
        "Run `sandpiper migrate`, or check the grants of the role sandpiper_app.",
      );
    if (code === "28P01" || code === "28000" || code === "3D000" || code === "22023")
      return because(
        `cannot use the database: ${message}`,
        "Check user, password and database name in database.url, and run `sandpiper migrate` as its owner.",
      );
    if (/transaction blocks not allowed/.test(message)) return throughPooler("statement");
    if (code === "42P01")
      return because("the database has no sandpiper tables", "Run `sandpiper init` or `sandpiper migrate`.");
    if (/^(08|40|53|57|58|XX|25)/.test(code))
      return because(`the database failed: ${message}`, "Check that it is running and healthy, then run again.");
    return error;
  }
  const systemCode = (error as { code?: string } | undefined)?.code ?? "";
  if (
    /^E[A-Z]+$/.test(systemCode) ||
    /terminated|Connection|timeout|not queryable|closed the connection/i.test(message)
  ) {
    return because(`cannot reach the database: ${message}`, "Check that it is running and that database.url is right.");
  }
  return error;
}
