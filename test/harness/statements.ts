/** Counts what this process sends to its databases. */
import pg from "pg";

const sent: string[] = [];
const { query } = pg.Client.prototype;
type Query = (...args: unknown[]) => unknown;
pg.Client.prototype.query = function (this: pg.Client, ...args: unknown[]) {
  const [first] = args as [string | { text?: string }];
  sent.push(typeof first === "string" ? first : (first?.text ?? ""));
  return (query as Query).apply(this, args);
} as typeof query;

/** The statements that were sent meanwhile. */
export async function statementsOf(work: () => Promise<unknown>): Promise<string[]> {
  const before = sent.length;
  await work();
  return sent.slice(before);
}

/** How many were sent so far. */
export const statementCount = (): number => sent.length;
