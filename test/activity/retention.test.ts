/** What is kept for a time only, and what of it stays. */
import t from "tap";
import { forgetOld } from "../../src/activity/retention-store.ts";
import { listPartnerFacts, listPrimaryFacts } from "../../src/activity/status-store.ts";
import { addCompany } from "../../src/companies/company-store.ts";
import { openTestDatabase } from "../harness/open-database.ts";

const forever = { limitMs: Number.POSITIVE_INFINITY };

t.test("the logs", async (t) => {
  const { db } = await openTestDatabase(t);
  const companies: string[] = [];
  for (const name of ["Epicor", "Autopart"]) companies.push((await addCompany(db, { name })).id);
  const [epicor, autopart] = companies as [string, string];
  const activity = (company: string, daysAgo: number, outcome: string, times = 1) =>
    db.run(
      `INSERT INTO activity (company_id, run_id, slice_id, outcome, created_at)
       SELECT $1, gen_random_uuid(), gen_random_uuid(), $2, now() - $3::float8 * interval '1 day' FROM generate_series(1, $4)`,
      [company, outcome, daysAgo, times],
    );
  const run = (company: string, daysAgo: number, exitCode: number) =>
    db.run(
      `INSERT INTO sync_runs (id, company_id, started_at, finished_at, exit_code)
       SELECT gen_random_uuid(), $1, at, at, $3 FROM (SELECT now() - $2::float8 * interval '1 day' AS at) AS moment`,
      [company, daysAgo, exitCode],
    );
  const confirm = (daysAgo: number) =>
    db.run(
      `INSERT INTO outbox (company_id, run_id, slice_id, body, created_at)
       VALUES ($1, gen_random_uuid(), gen_random_uuid(), '{}', now() - $2::float8 * interval '1 day')`,
      [epicor, daysAgo],
    );
  await activity(epicor, 41, "updated", 12_000);
  await activity(epicor, 39, "updated");
  await activity(autopart, 60, "updated");
  await activity(autopart, 50, "updated");
  await activity(autopart, 45, "failed");
  for (const [daysAgo, exitCode] of [
    [80, 0],
    [70, 0],
    [60, 3],
    [50, 3],
  ] as const)
    await run(epicor, daysAgo, exitCode);
  await run(autopart, 39, 0);
  await confirm(41);
  await confirm(39);
  const facts = async () => [
    (await listPartnerFacts(db)).map(({ name, lastSuccess }) => [name, lastSuccess?.getTime()]),
    (await listPrimaryFacts(db)).map(({ name, lastRun, lastSuccess }) => [
      name,
      lastRun?.getTime(),
      lastSuccess?.getTime(),
    ]),
  ];
  const before = await facts();

  t.same(await forgetOld(db, 40, { limitMs: -1 }), { activity: 0, runs: 0, confirmations: 0 }, "no time, no work");
  t.same(await forgetOld(db, 40, { ...forever, signal: AbortSignal.abort() }), {
    activity: 0,
    runs: 0,
    confirmations: 0,
  });
  t.same(await forgetOld(db, 40, forever), { activity: 12_002, runs: 2, confirmations: 1 });
  t.same(await facts(), before, "when each was last well, and when it last ran, is still known");
  t.same(
    await forgetOld(db, 40, forever),
    { activity: 0, runs: 0, confirmations: 0 },
    "and then there is nothing to do",
  );
  t.equal((await db.one<{ n: number }>("SELECT count(*) AS n FROM activity"))!.n, 2);
});
