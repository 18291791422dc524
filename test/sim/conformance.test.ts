/** The simulated database is held to the real one: what was done in the one is done again in the other, with the same results. */
import t from "tap";
import { parseConfig } from "../../src/config/config.ts";
import { openDatabase } from "../../src/database/database.ts";
import { createTestDatabase } from "../harness/test-database.ts";
import { ask } from "./ask.ts";
import { nameOf } from "./handler.ts";
import type { Trace } from "./operation.ts";
import { Replay } from "./replay.ts";
import { smallLimits } from "./small-limits.ts";
import { statementNames } from "./statements.ts";

t.setTimeout(180_000);

const traceCount = 500;
/** Databases in which traces are repeated at once. */
const databases = 4;
/** Differences that are printed. */
const mostDifferences = 5;

/** Of a copy of the program with small limits. */
async function recorded(): Promise<Trace[]> {
  const copy = smallLimits();
  try {
    const answer = await ask(copy.directory, { ask: "traces", first: 1001, count: traceCount });
    if (!("traces" in answer)) throw new Error("another answer than asked for");
    return answer.traces;
  } finally {
    copy.remove();
  }
}

/** A database whose limits are as small as those of the copy. */
async function openReplay(): Promise<{ replay: Replay; close(): Promise<void> }> {
  const created = await createTestDatabase("conformance");
  const config = parseConfig({ flags: [], environment: { SANDPIPER_DATABASE_URL: created.url }, file: "test.yaml" });
  const owner = await openDatabase(config, { as: "owner" });
  await owner.run(`DO $$ DECLARE name text; BEGIN
    FOR name IN SELECT conname FROM pg_constraint WHERE conrelid = 'grains'::regclass AND pg_get_constraintdef(oid) LIKE '%1048576%' LOOP
      EXECUTE format('ALTER TABLE grains DROP CONSTRAINT %I', name);
    END LOOP; END $$`);
  await owner.run(
    "ALTER TABLE grains ADD CHECK (octet_length(payload) = payload_bytes OR (payload IS NULL AND payload_bytes > 256))",
  );
  const db = await openDatabase(config);
  const replay = new Replay(db, owner);
  return {
    replay,
    close: async () => {
      await replay.close();
      await db.close();
      await owner.close();
      await created.drop();
    },
  };
}

t.test(`${traceCount} traces have the same results in the simulated and in a real database`, async (t) => {
  const traces = await recorded();
  t.equal(traces.length, traceCount);

  const left = [...traces];
  const differences: string[] = [];
  let [steps, waits] = [0, 0];
  const work = async () => {
    const { replay, close } = await openReplay();
    for (let next = left.shift(); next !== undefined && differences.length < mostDifferences; next = left.shift()) {
      const difference = await replay.run(next);
      if (difference !== undefined) differences.push(difference);
    }
    steps += replay.steps;
    waits += replay.waits;
    await close();
  };
  await Promise.all(Array.from({ length: databases }, work));
  for (const difference of differences) t.fail(difference);
  t.ok(waits > 0, "some have waited for a lock");
  t.comment(`${traces.length - left.length} traces, ${steps} operations, ${waits} waits for a lock`);

  const operations = traces.flatMap((trace) => trace.steps).map(({ operation }) => operation);
  const used = new Set(operations.map((operation) => "text" in operation && nameOf(operation.text)));
  t.same(
    statementNames.filter((name) => !used.has(name)),
    [],
    "every statement is in some trace",
  );
});
