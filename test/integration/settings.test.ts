/** Whatever a database, a role or an environment says, a catalogue crosses, whole and with the same hashes. */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { asEver, sessionSettings, settingNames } from "../../src/database/session-settings.ts";
import { socketUrl } from "../harness/cluster.ts";
import { oddDatabase, oddEnvironment, setDifferently } from "../harness/odd-database.ts";
import { sandpiper } from "../harness/process.ts";
import { projectRoot } from "../harness/project-root.ts";
import { scratch } from "../harness/scratch.ts";
import { addLines, events, introduce, makePair, offer, Party, withIds } from "./parties.ts";

t.setTimeout(180_000);

const failpoint = new URL("../harness/failpoint.js", import.meta.url).href;
/** Longer than each of the odd times, in the middle of a COPY and between statements. */
const slow = (...places: string[]) => ({
  nodeArgs: ["--import", failpoint],
  env: { ...oddEnvironment, SP_FP: places.map((place) => `${place}:sleep:1500`).join(",") },
});

const lines = withIds([
  ...addLines(0, 2000, 600),
  { add: { grain_key: "plaquettes-é", source: "Колодки", encoding: "raw" as const, payload: "\\x41 \\ é Б" } },
]);
const metadata = { vcdb: "2026-01-30", naïve: "\\ ' \" Б" };

t.test("everything is set differently", async (t) => {
  const usual = await makePair(t);
  await offer(usual.primary, "Колодки é", "aces-items", usual.secondary);
  await usual.primary.batch("Колодки é", [...lines, { metadata }]);
  await usual.secondary.ok(["sync"]);
  const wanted = Object.values(await usual.primary.content()).map((slice) => (slice as { hash: string }).hash);

  const env = { env: oddEnvironment };
  const odd = async (role: "primary" | "secondary", company: string) => {
    const database = await oddDatabase(company, t);
    return Party.make(t, role, company, [], database, oddEnvironment);
  };
  const primary = await odd("primary", "ABC Brakes");
  const secondary = await odd("secondary", "Epicor");
  await primary.serve(slow("p.compare:1", "p.grains:1"));
  await introduce(primary, secondary);
  await offer(primary, "Колодки é", "aces-items", secondary);
  await primary.batch("Колодки é", [...lines, { metadata }]);
  await offer(primary, "file", "aces-file", secondary);
  await writeFile(join(primary.directory, "pads.xml"), "x".repeat(3_000_000));
  await primary.ok(["add", "--slice", "file", "pads.xml"], slow("l.add:1", "l.refresh:1"));

  const rehearsed = await secondary.run(["sync", "--noupdate", "--json"], env);
  t.match(events(rehearsed.stdout).at(-1), { exit_code: 0, updated: 2 });
  const { code, stdout, stderr } = await secondary.run(
    ["sync", "--json", "--retry-for", "0"],
    slow("s.subs:1", "s.compared:1", "s.stage:1", "s.tx.insert:1"),
  );
  t.equal(code, 0, stderr);
  t.match(events(stdout).at(-1), { exit_code: 0, updated: 2 });
  const content = await secondary.content();
  t.same(content, await primary.content());
  t.ok(
    Object.values(content).some((slice) => (slice as { hash: string }).hash === wanted[0]),
    "the same hash as where everything is as usual",
  );
  t.match(events((await secondary.run(["sync", "--json"], env)).stdout).at(-1), { unchanged: 2, exit_code: 0 });
  await secondary.ok(["pull", "out"], env);
  t.equal((await readFile(join(secondary.directory, "out", "file", "pads.xml"))).length, 3_000_000);
  for (const command of [
    ["list"],
    ["activity"],
    ["company", "list", "--status"],
    ["subscription", "list"],
    ["migrate"],
  ]) {
    t.equal((await secondary.run(command, env)).code, 0, command.join(" "));
  }
  const activity = JSON.parse(await secondary.ok(["activity", "--json"], env)) as { date: string }[];
  t.ok(Math.abs(Date.parse(activity[0]!.date) - Date.now()) < 120_000, "times are read as they are meant");
});

t.test("what is switched off for a while is as ever after it", async (t) => {
  const { secondary } = await makePair(t);
  const db = await secondary.db();
  const differing = await db.session(async (session) => {
    await session.run("SET synchronous_commit = off; SET enable_sort = off");
    await session.run(asEver("synchronous_commit", "enable_sort"));
    return session.query(
      `SELECT name FROM pg_settings WHERE name IN ('synchronous_commit', 'enable_sort') AND setting <> 'on'`,
    );
  });
  t.same(differing, []);
  t.match(sessionSettings, /'transaction_timeout', '0'/);
  const { readdir } = await import("node:fs/promises");
  const sources = (await readdir(join(projectRoot, "src"), { recursive: true })).filter((name) => name.endsWith(".ts"));
  for (const name of sources) {
    for (const [, setting] of (await readFile(join(projectRoot, "src", name), "utf8")).matchAll(/\bRESET (\w+)/g))
      t.notOk(settingNames.includes(setting!), `${name}: RESET ${setting} goes back to what the role says`);
  }
});

t.test("the embedded server", async (t) => {
  const directory = join(await scratch(t), "odd");
  await mkdir(directory);
  const run = (...args: string[]) => sandpiper(args, { cwd: directory, env: oddEnvironment });
  const ok = async (...args: string[]) => {
    const { code, stdout, stderr } = await run(...args);
    t.equal(code, 0, `${args.join(" ")}: ${stderr}`);
    return stdout;
  };
  await ok("init", "--role", "primary", "--company", "ABC Brakes");
  await ok("slice", "add", "first", "--type", "aces-file");
  const { acquireEmbedded } = await import("../../src/database/postgres/embedded.ts");
  const server = await acquireEmbedded(join(directory, "sandpiper-data"));
  t.teardown(() => server.release());
  const { host, port } = server.connection("postgres");
  const url = socketUrl("sandpiper", host, port);
  for (const whom of ["DATABASE sandpiper", "DATABASE postgres", "ROLE sandpiper_app", "ROLE postgres"])
    t.ok((await setDifferently(url, whom)) > 60);
  await server.release();
  await ok("slice", "add", "second", "--type", "aces-file");
  await writeFile(join(directory, "pads.xml"), "<ACES/>");
  await ok("add", "--slice", "second", "pads.xml");
  const slices = JSON.parse(await ok("slice", "list", "--json")) as { name: string }[];
  t.same(
    slices.map(({ name }) => name),
    ["first", "second"],
  );
});
