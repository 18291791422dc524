/** A database that explains every statement before it is run: how its rows were found, and how many were looked at in vain. */
import type { Database, Session } from "../../src/database/database.ts";

/** A part of a plan, as EXPLAIN (ANALYZE, FORMAT JSON) says it. */
export interface PlanNode {
  "Node Type": string;
  "Relation Name"?: string;
  "Index Name"?: string;
  "Index Cond"?: string;
  "Actual Rows": number;
  "Actual Loops": number;
  "Rows Removed by Filter"?: number;
  Plans?: PlanNode[];
}

type OnPlan = (text: string, plan: PlanNode) => void;

/** Those that do something to the session besides, and those that cannot be explained, are left out. */
const explainable = /^(?:\/\* \w+ \*\/ )?(SELECT|INSERT|UPDATE|DELETE|WITH)\b(?!.*advisory)/s;

export function explained(db: Database, onPlan: OnPlan): Database {
  const session = <T>(work: (session: Session) => Promise<T>) => db.session((own) => work(wrap(own, false, onPlan)));
  return {
    session,
    query: (text, values) => session((s) => s.query(text, values)),
    one: (text, values) => session((s) => s.one(text, values)),
    run: (text, values) => session((s) => s.run(text, values)),
    transaction: (work, options) => session((s) => s.transaction(work, options)),
    as: (scope) => explained(db.as(scope), onPlan),
    close: () => db.close(),
  };
}

function wrap(session: Session, open: boolean, onPlan: OnPlan): Session {
  const look = async (text: string, values: readonly unknown[] = []) => {
    if (!explainable.test(text)) return;
    const [begin, end] = open ? ["SAVEPOINT looked", "ROLLBACK TO looked; RELEASE looked"] : ["BEGIN", "ROLLBACK"];
    await session.run(begin);
    try {
      const [row] = await session.query<{ "QUERY PLAN": [{ Plan: PlanNode }] }>(
        `EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) ${text}`,
        values,
      );
      onPlan(text, row!["QUERY PLAN"][0].Plan);
    } finally {
      await session.run(end);
    }
  };
  const self: Session = {
    query: async (text, values) => {
      await look(text, values);
      return session.query(text, values);
    },
    one: async (text, values) => (await self.query<never>(text, values))[0],
    run: async (text, values) => {
      await look(text, values);
      return session.run(text, values);
    },
    copyIn: (text) => session.copyIn(text),
    copyOut: (text) => {
      const body = async function* () {
        const inner = /^(\/\* \w+ \*\/ )?COPY \((.*)\) TO STDOUT/s.exec(text);
        if (inner !== null) await look((inner[1] ?? "") + inner[2]);
        for await (const piece of session.copyOut(text)) yield piece as Buffer;
      };
      return body() as never;
    },
    transaction: (work, options) => session.transaction((tx) => work(wrap(tx, true, onPlan)), options),
    destroy: () => session.destroy(),
    backendPid: session.backendPid,
  };
  return self;
}

/** All parts of a plan. */
export function* nodesOf(plan: PlanNode): Generator<PlanNode> {
  yield plan;
  for (const part of plan.Plans ?? []) yield* nodesOf(part);
}
