/** The database connection: whose rights it has, what it refuses, how it fails; and the migrations. */
import { createHash } from "node:crypto";
import { readdirSync } from "node:fs";
import { readdir, writeFile } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import { createServer } from "node:net";
import { join } from "node:path";
import t from "tap";
import { addCompany } from "../../src/companies/company-store.ts";
import { parseConfig } from "../../src/config/config.ts";
import { appRole, type Database, openDatabase } from "../../src/database/database.ts";
import { external } from "../../src/database/database-url.ts";
import { migrate, requireCurrentSchema } from "../../src/database/migrate.ts";
import { prepared } from "../../src/database/prepared.ts";
import { everything } from "../../src/database/scope.ts";
import { SandpiperError } from "../../src/errors.ts";
import type { CompanyId } from "../../src/ids.ts";
import { sandpiper } from "../harness/process.ts";
import { projectRoot } from "../harness/project-root.ts";
import { scratch } from "../harness/scratch.ts";
import { createTestDatabase } from "../harness/test-database.ts";

const migrations = readdirSync(join(projectRoot, "db/migrations")).sort();

const configOf = (url: string) =>
  parseConfig({ flags: [], environment: { SANDPIPER_DATABASE_URL: url }, file: "test.yaml" });

async function open(
  test: { teardown(work: () => Promise<void>): unknown },
  url: string,
  as: "app" | "owner" = "app",
): Promise<Database> {
  const db = await openDatabase(configOf(url), { as });
  test.teardown(() => db.close());
  return db;
}

const failure = (work: Promise<unknown>): Promise<SandpiperError> =>
  work.then(
    () => Promise.reject(new Error("it did not fail")),
    (error) => (error instanceof SandpiperError ? error : Promise.reject(error)),
  );

t.test("the program works as a role that owns nothing", async (t) => {
  const { url } = await createTestDatabase("role");
  const db = await open(t, url);
  t.same(
    await db.one(
      "SELECT current_user AS me, rolsuper AS super, rolbypassrls AS bypass FROM pg_roles WHERE rolname = current_user",
    ),
    { me: appRole, super: false, bypass: false },
  );
  t.same(await db.query("SELECT tablename FROM pg_tables WHERE tableowner = current_user"), []);
  t.equal((await failure(db.run("CREATE TABLE public.x (a int)"))).code, "storage");
  t.equal((await failure(db.run("DROP TABLE grains"))).code, "storage");
  t.equal((await failure(db.run("UPDATE server SET role = 'primary'"))).code, "storage");
  t.equal((await failure(db.run("DELETE FROM schema_migrations"))).code, "storage");
});

t.test("a login that is no superuser can own the database", async (t) => {
  const { url, name } = await createTestDatabase("owner");
  const admin = await open(t, url, "owner");
  const login = `sandpiper_test_${name.slice(-12)}`;
  await admin.run(`CREATE ROLE ${login} LOGIN`);
  await admin.run(`CREATE DATABASE ${name}_own OWNER ${login} TEMPLATE template0`);
  t.teardown(async () => {
    const again = await openDatabase(configOf(url), { as: "owner" });
    await again.run(`DROP DATABASE ${name}_own WITH (FORCE)`);
    await again.run(`DROP ROLE ${login}`);
    await again.close();
  });
  const own = new URL(url);
  own.username = login;
  own.pathname = `/${name}_own`;
  const owner = await openDatabase(configOf(own.toString()), { as: "owner" });
  const refused = await failure(migrate(owner));
  t.match(refused, { code: "config", hint: /GRANT sandpiper_app TO/ }, "says what an administrator must do");
  await admin.run(`GRANT ${appRole} TO ${login}`);
  t.same(await migrate(owner), migrations);
  t.same(await migrate(owner), [], "a second time there is nothing to do");
  await owner.close();
  const db = await openDatabase(configOf(own.toString()));
  t.match(await db.one("SELECT current_user AS me"), { me: appRole });
  await requireCurrentSchema(db);
  await db.close();
});

t.test("migrations: two at once, a newer database, an altered one", async (t) => {
  const { url, name } = await createTestDatabase("migrate");
  const admin = await open(t, url, "owner");
  await admin.run(`CREATE DATABASE ${name}_new TEMPLATE template0`);
  t.teardown(async () => {
    const again = await openDatabase(configOf(url), { as: "owner" });
    await again.run(`DROP DATABASE ${name}_new WITH (FORCE)`);
    await again.close();
  });
  const fresh = url.replace(name, `${name}_new`);
  const owners = await Promise.all([
    openDatabase(configOf(fresh), { as: "owner" }),
    openDatabase(configOf(fresh), { as: "owner" }),
  ]);
  const applied = await Promise.all(owners.map((owner) => migrate(owner)));
  t.same(applied.flat(), migrations, "one applies, the other finds nothing to do");
  const [row] = await owners[0]!.query<{ checksum: string }>("SELECT checksum FROM schema_migrations");
  t.match(row!.checksum, /^[0-9a-f]{64}$/);
  for (const owner of owners) await owner.close();

  const db = await open(t, url);
  await admin.run("INSERT INTO schema_migrations (version, name, checksum) VALUES (9999, '9999-later.sql', 'x')");
  const newer = await failure(requireCurrentSchema(db));
  t.match(newer, { code: "schema", exitCode: 2 });
  t.match(newer.message, "newer than this program");
  t.equal((await failure(migrate(admin))).code, "schema");
  await admin.run("DELETE FROM schema_migrations WHERE version = 9999");
  await admin.run("UPDATE schema_migrations SET checksum = $1", [createHash("sha256").update("other").digest("hex")]);
  t.match((await failure(requireCurrentSchema(db))).message, "in the database differs from the one in this program");
  await admin.run("DELETE FROM schema_migrations");
  t.match(await failure(requireCurrentSchema(db)), { code: "schema", hint: "Run `sandpiper migrate`." });
});

t.test("a database whose text is not UTF-8, or whose constraints are switched off, is refused", async (t) => {
  const { url, name } = await createTestDatabase("encoding");
  const admin = await open(t, url, "owner");
  const others = ["latin1", "sql_ascii"];
  t.teardown(async () => {
    const again = await openDatabase(configOf(url), { as: "owner" });
    for (const encoding of others) await again.run(`DROP DATABASE IF EXISTS ${name}_${encoding} WITH (FORCE)`);
    await again.close();
  });
  for (const encoding of others) {
    await admin.run(
      `CREATE DATABASE ${name}_${encoding} ENCODING '${encoding}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0`,
    );
    const other = url.replace(name, `${name}_${encoding}`);
    for (const as of ["owner", "app"] as const) {
      t.match(await failure(openDatabase(configOf(other), { as })), {
        code: "config",
        exitCode: 2,
        message: `is ${encoding.toUpperCase()}, not UTF8`,
        hint: "ENCODING 'UTF8' TEMPLATE template0",
      });
    }
    const directory = await scratch(t);
    for (const command of [
      ["init", "--role", "primary", "--company", "ABC Brakes"],
      ["migrate"],
      ["serve", "--server.port", "0"],
    ]) {
      if (command[0] !== "init") await writeFile(join(directory, "sandpiper.yaml"), "", { mode: 0o600 });
      const { code, stderr } = await sandpiper(command, { cwd: directory, env: { SANDPIPER_DATABASE_URL: other } });
      t.equal(code, 2, `${encoding}: ${command[0]}`);
      t.match(stderr, "not UTF8");
      if (command[0] === "init") t.same(await readdir(directory), [], "and nothing is left behind");
    }
  }
  await admin.run(`ALTER DATABASE ${name} SET session_replication_role = replica`);
  t.match(await failure(openDatabase(configOf(url))), {
    code: "config",
    message: "session_replication_role is replica",
  });
  await admin.run(`ALTER DATABASE ${name} RESET session_replication_role`);
});

t.test("URLs", async (t) => {
  t.match(external("postgres://u:p@db.example.com/x"), { ssl: { rejectUnauthorized: true } }, "remote: TLS, verified");
  t.match(external("postgres://u:p@db.example.com/x?sslmode=verify-full"), {
    ssl: { rejectUnauthorized: true },
  });
  for (const local of [
    "postgres://u@localhost/x",
    "postgres://u@127.0.0.1:5433/x",
    "postgres://u@[::1]/x",
    "postgres://u@/x?host=/run/postgresql",
  ])
    t.equal(external(local).ssl, false, local);
  for (const weak of ["disable", "prefer", "require", "no-verify", "verify-ca"]) {
    t.throws(() => external(`postgres://u:p@db.example.com/x?sslmode=${weak}`), { code: "config" }, weak);
  }
  t.equal(external("postgres://localhost/x", "me").connectionString, "postgres://me@localhost/x", "a login of its own");
  t.equal(external("postgres:///x?user=a", "me").connectionString, "postgres://localhost/x?user=a");
  for (const weak of ["0", "false", "no-verify"]) {
    t.throws(() => external(`postgres://u:p@db.example.com/x?ssl=${weak}`), { code: "config" }, weak);
  }
  const { connectionString } = external("postgres://u:p@db.example.com/x?ssl=true&uselibpqcompat=true");
  t.equal(connectionString, "postgres://u:p@db.example.com/x");
  t.throws(() => external("mysql://x/y"), { code: "config" });
  t.throws(() => external("not a url"), { code: "config" });
});

t.test("a database that is down, hangs up, or is something else", async (t) => {
  const closed = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => closed.once("listening", resolve));
  const { port } = closed.address() as AddressInfo;
  await new Promise((resolve) => closed.close(resolve));
  t.match(
    await failure(openDatabase(configOf(`postgres://u@127.0.0.1:${port}/x`))),
    { code: "storage", exitCode: 9 },
    "nothing listens",
  );
  const rude = createServer((socket) => socket.destroy()).listen(port, "127.0.0.1");
  t.match(
    await failure(openDatabase(configOf(`postgres://u@127.0.0.1:${port}/x`))),
    { code: "storage" },
    "it hangs up",
  );
  rude.close();
  const { url, name } = await createTestDatabase("down");
  t.match(
    await failure(openDatabase(configOf(url.replace(name, "sandpiper_test_nothing")))),
    { code: "storage" },
    "no such database",
  );
});

t.test("transactions", async (t) => {
  const { url } = await createTestDatabase("transactions");
  const db = await open(t, url);
  const companies = () => db.query<{ name: string }>("SELECT name FROM companies");
  const add = (name: string) =>
    ["INSERT INTO companies (id, name, name_key) VALUES (gen_random_uuid(), $1, $1)", [name]] as const;
  await failure(
    db.transaction(async (tx) => {
      await tx.run(...add("a"));
      throw new SandpiperError("usage", "stop");
    }),
  );
  t.same(await companies(), [], "rolled back");
  t.match(
    await failure(db.transaction((tx) => tx.run(...add("b")), { readOnly: true })),
    { code: "storage" },
    "read-only is read-only",
  );
  await db.run(...add("c"));
  t.match(await failure(db.run(...add("c"))), { code: "conflict" });
  const broken = failure(
    db.session(async (session) => {
      const sleeping = session.run("SELECT pg_sleep(60)");
      session.destroy();
      await sleeping;
    }),
  );
  t.match(await broken, { code: "storage" }, "a broken connection is an error, not a hang");
  t.same(await companies(), [{ name: "c" }], "and the pool goes on with another");
});

t.test("a query that takes its scope along sees no more than one that is told its scope before", async (t) => {
  const { url } = await createTestDatabase("scope");
  const environment = { SANDPIPER_DATABASE_URL: url, SANDPIPER_DATABASE_POOL_SIZE: "2" };
  const db = await openDatabase(parseConfig({ flags: [], environment, file: "test.yaml" }));
  t.teardown(() => db.close());
  const names = ["a", "b", "c"];
  const ids = new Map<string, CompanyId>();
  for (const name of names) ids.set(name, (await addCompany(db, { name })).id);
  const listed = prepared("SELECT name FROM companies WHERE name <> $1 ORDER BY name");
  const failing = prepared("SELECT 1 / length($1) AS n FROM companies");
  const seen = async (as: Database) => (await as.query<{ name: string }>(listed, ["x"])).map(({ name }) => name).join();
  for (let round = 0; round < 20; round++) {
    const name = names[round % 3]!;
    const own = db.as({ company: ids.get(name)! });
    t.equal(await seen(own), name);
    if (round % 2 === 0) t.equal(await seen(db.as(everything)), "a,b,c");
    // What a statement had set is taken back when it fails, or its transaction is.
    const other = db.as({ company: ids.get(names[(round + 1) % 3]!)! });
    await t.rejects(other.query(failing, [""]));
    t.equal(await seen(own), name);
    await t.rejects(
      other.transaction(async (tx) => {
        await tx.one(listed, ["x"]);
        throw new Error("back");
      }),
    );
    t.equal(await seen(own), name);
    t.same((await own.one(prepared("SELECT count(*) AS n FROM companies"))) as object, { n: 1 });
  }
  const many = await Promise.all(
    Array.from({ length: 60 }, async (_, n) => {
      const name = names[n % 3]!;
      return (await seen(db.as({ company: ids.get(name)! }))) === name;
    }),
  );
  t.ok(
    many.every((own) => own),
    "at once on two connections",
  );
});

t.test("nothing begins for whom nobody waits any more, and what had begun is taken back", async (t) => {
  const { url } = await createTestDatabase("wanted");
  const db = await open(t, url);
  const gone = new AbortController();
  const wanted = db.as(everything, gone.signal);
  await t.rejects(
    wanted.transaction(async (tx) => {
      await addCompany(tx, { name: "never" });
      gone.abort(new SandpiperError("network", "gone"));
    }),
    { code: "network" },
  );
  await t.rejects(wanted.one("SELECT 1"), { code: "network" });
  t.same(await db.query("SELECT name FROM companies"), []);
});
