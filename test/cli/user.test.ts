import t from "tap";
import { addActivity } from "../../src/activity/activity-store.ts";
import { requireCompany } from "../../src/companies/company-store.ts";
import { authenticateUser } from "../../src/companies/user-store.ts";
import { sandbox } from "./sandbox.ts";

t.setTimeout(120_000);

const password = "  correct horse battery ";

t.test("users", async (t) => {
  const { run, json, refuses, withDatabase, onTerminal } = await sandbox(t, "primary");
  await json(["company", "add", "Epicor"]);
  const add = (name: string, ...args: string[]) => ["user", "add", name, ...args];
  const added = await run(add("Maria", "--role", "super-admin"), { input: `${password}\nignored\n` });
  t.match(added, { code: 0, stdout: "User Maria of ABC Brakes is added as super-admin." });
  t.notMatch(added.stdout + added.stderr, password);
  t.match(await withDatabase((db) => authenticateUser(db, "maria", password)), { role: 100 }, "blanks are kept");

  const bob = add("bob", "--role", "company-admin", "--company", "epicor", "--email", "bob@epicor.example");
  t.match(await run([...bob, "--json"], { input: password }), { code: 0, stdout: '"company":"Epicor"' });

  t.match(added.stdout, "The name to log in with is Maria@ABC Brakes.");
  t.notMatch(added.stderr, "Other companies");

  const namesake = await run(add("maria", "--role", "company-admin", "--company", "epicor"), {
    input: "another password",
  });
  t.match(namesake, {
    code: 0,
    stdout: "The name to log in with is maria@Epicor.",
    stderr: "from now on, each of these users must log in as NAME@COMPANY",
  });
  const logsIn = (name: string, secret: string) => withDatabase((db) => authenticateUser(db, name, secret));
  t.equal(await logsIn("maria", password), undefined);
  t.match(await logsIn("maria@abc brakes", password), { role: 100 });
  t.match(await logsIn("maria@epicor", "another password"), { role: 120 });

  const admin = (...args: string[]) => add("x", "--role", "admin", ...args);
  await refuses(t, [
    [admin("--company", "epicor"), 2, "must belong to our own company"],
    [add("x", "--role", "company-admin", "--company", "nil"), 2, "there is no company"],
    [admin("--email", "nobody"), 2, "is not an e-mail address"],
    [admin("--email", `${"x".repeat(243)}@example.com`), 2, "is not an e-mail address"],
    [add("", "--role", "admin"), 2, "name is empty"],
    [add("x"), 2, "required option '--role <role>' not specified"],
    [["activity", "--company", "nil"], 2, "there is no company"],
  ]);
  for (const [name, input, message] of [
    ["MARIA", password, "already"],
    ["x", "", "no password was given"],
    ["x", "\n", "no password was given"],
    ["x", "short\n", "12 to 200 characters"],
    ["x", `${"x".repeat(201)}\n`, "12 to 200 characters"],
  ] as const) {
    const refused = await run(add(name, "--role", "admin"), { input });
    t.match(refused, { code: 2, stdout: /^$/, stderr: message }, `${name} ${message}`);
  }
  const typed = await onTerminal(add("ann", "--role", "admin"), [
    ["or more): ", "a long enough one\r"],
    ["Repeat the password: ", "a long enough one\r"],
  ]);
  t.match(typed, { code: 0, screen: "User ann of ABC Brakes is added as admin." });
  t.notMatch(typed.screen, "long enough", "what is typed is not shown");
  t.match(
    await onTerminal(add("eve", "--role", "admin"), [
      ["or more): ", "a long enough one\r"],
      ["Repeat the password: ", "another long one\r"],
    ]),
    { code: 2, screen: "the two passwords differ" },
  );
});

t.test("activity", async (t) => {
  const { run, json, withDatabase, onTerminal } = await sandbox(t, "primary");
  await json(["company", "add", "Epicor"]);
  await json(["company", "add", "Other"]);
  await withDatabase(async (db) => {
    const { id: companyId } = await requireCompany(db, "epicor");
    const counts = { grainsAdded: 3, grainsRemoved: 1, bytes: 4096, durationMs: 12 };
    for (const sliceName of ["pads", "evil\u001b[2J"]) {
      const about = { companyId, runId: null, sliceId: null, sliceName, subId: null, message: "all\twell" };
      await addActivity(db, { ...about, ...counts, rehearsal: false, outcome: "updated" });
    }
  });
  const { stdout } = await run(["activity", "--company", "EPICOR"]);
  const rows = stdout.trimEnd().split("\n");
  t.equal(rows.length, 2);
  t.match(rows[0], /^20[^\t]*Z\tEpicor\tevil\\u001b\[2J\tupdated\tno\t3\t1\t4096\t12\tall\\u0009well$/, "newest first");
  t.same(await json(["activity", "--company", "other"]), []);
  t.match(await json(["activity", "--limit", "1"]), [{ company: "Epicor", bytes: 4096, test: false }]);
  t.match(await onTerminal(["activity"]), { code: 0, screen: /DATE.*COMPANY.*SLICE.*OUTCOME/ });
  t.notMatch((await onTerminal(["activity"], [], { NO_COLOR: "1" })).screen, "\u001b");
});
