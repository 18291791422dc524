import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import {
  appendFileSync,
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import t from "tap";
import { acquireEmbedded, clusterExists, createCluster } from "../../../src/database/postgres/embedded.ts";
import { SandpiperError } from "../../../src/errors.ts";

const fast = { fast: true };
const compiled = new URL("../../../src/database/postgres/embedded.js", import.meta.url).href;

/** A data directory that the server's user reaches, removed at the end with whatever still runs in it. */
function dataDir(t: Tap): string {
  const base = mkdtempSync(join(existsSync("/dev/shm") ? "/dev/shm" : tmpdir(), "sp-embedded-"));
  chmodSync(base, 0o711);
  const dir = join(base, "data");
  t.teardown(async () => {
    const pid = postmaster(dir);
    if (pid !== undefined && alive(pid)) process.kill(pid, "SIGKILL");
    await sleep(pid === undefined ? 0 : 200);
    rmSync(base, { recursive: true, force: true, maxRetries: 5 });
  });
  return dir;
}
type Tap = Pick<typeof t, "teardown">;

function postmaster(dir: string): number | undefined {
  const file = join(dir, "postgres", "postmaster.pid");
  return existsSync(file) ? Number.parseInt(readFileSync(file, "utf8"), 10) : undefined;
}

/** Whether the process runs; one that is dead and only not yet waited for does not. */
function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return process.platform !== "linux" || !/^\d+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return false;
  }
}

async function gone(pid: number): Promise<boolean> {
  for (let i = 0; i < 100 && alive(pid); i++) await sleep(50);
  return !alive(pid);
}

interface Child {
  process: ChildProcess;
  /** The next line that it prints; undefined at its end. */
  line(): Promise<string | undefined>;
  /** Lets it go on from `await told()`. */
  tell(): void;
  ended: Promise<number | null>;
}

/** A process of its own that runs the script with `dir`, `say(line)` and `told()` at hand. */
function child(t: Tap, dir: string, script: string): Child {
  const prelude = `
    import { acquireEmbedded, createCluster } from ${JSON.stringify(compiled)};
    import pg from "pg";
    const dir = ${JSON.stringify(dir)}, fast = { fast: true };
    const say = (line) => process.stdout.write(line + "\\n");
    const told = () => new Promise((resolve) => process.stdin.once("data", resolve));
    const connect = async (server) => {
      const client = new pg.Client(server.connection("postgres"));
      client.on("error", () => {});
      await client.connect();
      return client;
    };
  `;
  // Where the compiled files are, so that "pg" is found from there.
  const cwd = new URL("../../../..", import.meta.url);
  const args = ["--input-type=module", "-e", `${prelude}${script}\nprocess.stdin.destroy();`];
  const started = spawn(process.execPath, args, { cwd, stdio: ["pipe", "pipe", "inherit"] });
  const ended = new Promise<number | null>((resolve) => started.once("close", resolve));
  const lines = createInterface({ input: started.stdout })[Symbol.asyncIterator]();
  t.teardown(() => started.kill("SIGKILL"));
  return {
    process: started,
    line: async () => (await lines.next()).value,
    tell: () => started.stdin.write("\n"),
    ended,
  };
}

const hold = `
  const server = await acquireEmbedded(dir, fast);
  say("acquired");
  await told();
  await server.release();
`;

t.test("create, connect as both roles, release", async (t) => {
  const dir = dataDir(t);
  t.equal(await clusterExists(dir), false);
  await t.rejects(acquireEmbedded(dir, fast), { code: "config", hint: /sandpiper init/ });
  await createCluster(dir, fast);
  t.equal(await clusterExists(dir), true);
  await createCluster(dir, fast);
  const server = await acquireEmbedded(dir, fast);
  const pid = postmaster(dir) as number;
  const roles: unknown[] = [];
  for (const role of ["postgres", "sandpiper_app"] as const) {
    const client = new pg.Client(server.connection(role));
    await client.connect();
    const { rows } = await client.query(
      `SELECT current_user AS name, current_database() AS database, rolsuper AS super, rolbypassrls AS bypass,
        (SELECT count(*)::int FROM pg_shdepend WHERE refobjid = r.oid AND deptype = 'o') AS owns,
        current_setting('listen_addresses') AS tcp, current_setting('timezone') AS zone,
        (SELECT datcollate FROM pg_database WHERE datname = 'sandpiper') AS collate,
        (SELECT 'a' < 'B' COLLATE "en-x-icu") AS icu
      FROM pg_roles r WHERE rolname = current_user`,
    );
    roles.push(rows[0]);
    await client.end();
  }
  const common = { database: "sandpiper", tcp: "", zone: "UTC", collate: "C", icu: true };
  t.match(roles, [
    { name: "postgres", super: true, ...common },
    { name: "sandpiper_app", super: false, bypass: false, owns: 0, ...common },
  ]);
  t.equal(statSync(join(dir, "socket")).mode & 0o777, 0o700);
  await server.release();
  await server.release();
  t.equal(postmaster(dir), undefined);
  t.ok(await gone(pid), "the last one out stopped the server");
});

t.test("a row-level policy binds sandpiper_app", async (t) => {
  const dir = dataDir(t);
  await createCluster(dir, fast);
  const server = await acquireEmbedded(dir, fast);
  const admin = new pg.Client(server.connection("postgres"));
  await admin.connect();
  await admin.query(`CREATE TABLE part (id int, slice text); INSERT INTO part VALUES (1, 'a'), (2, 'b');
    ALTER TABLE part ENABLE ROW LEVEL SECURITY; CREATE POLICY mine ON part USING (slice = 'a');
    GRANT SELECT ON part TO sandpiper_app`);
  const app = new pg.Client(server.connection("sandpiper_app"));
  await app.connect();
  t.strictSame((await app.query("SELECT id FROM part")).rows, [{ id: 1 }]);
  await t.rejects(app.query("CREATE TABLE mine (id int)"), { code: "42501" });
  await Promise.all([admin.end(), app.end()]);
  await server.release();
});

t.test("a server that falls while it is tidied up is left all the same", async (t) => {
  const dir = dataDir(t);
  await createCluster(dir, fast);
  const server = await acquireEmbedded(dir, fast);
  const client = new pg.Client(server.connection("postgres"));
  await client.connect();
  await client.query("CREATE TABLE part AS SELECT generate_series(1, 100) AS id");
  await client.query("DELETE FROM part");
  await client.end();
  let tidied = false;
  await server.release(async () => {
    tidied = true;
    const pid = postmaster(dir) as number;
    process.kill(pid, "SIGKILL");
    await gone(pid);
    await sleep(200); // that its connection has ended is known by then
  });
  t.ok(tidied);
});

t.test("created by two processes at once", async (t) => {
  const dir = dataDir(t);
  const script = `await createCluster(dir, fast); say("created");`;
  const both = [child(t, dir, script), child(t, dir, script)];
  t.strictSame(await Promise.all(both.map((one) => one.line())), ["created", "created"]);
  t.strictSame(await Promise.all(both.map((one) => one.ended)), [0, 0]);
  t.strictSame(
    readdirSync(dir).filter((name) => name.startsWith("postgres-new")),
    [],
  );
  const server = await acquireEmbedded(dir, fast);
  await server.release();
});

t.test("created and acquired several times at once within one process", async (t) => {
  const dir = dataDir(t);
  const four = [1, 2, 3, 4];
  await Promise.all(four.map(() => createCluster(dir, fast)));
  const servers = await Promise.all(four.map(() => acquireEmbedded(dir, fast)));
  const pid = postmaster(dir) as number;
  await servers.pop()?.release();
  t.ok(alive(pid));
  await Promise.all(servers.map((server) => server.release()));
  t.equal(postmaster(dir), undefined);
});

t.test("several processes at once", async (t) => {
  const dir = dataDir(t);
  await createCluster(dir, fast);

  await t.test("acquire on a stopped cluster: one server for both, until both have left", async (t) => {
    const both = [child(t, dir, hold), child(t, dir, hold)] as const;
    t.strictSame(await Promise.all(both.map((one) => one.line())), ["acquired", "acquired"]);
    const pid = postmaster(dir) as number;
    both[0].tell();
    t.equal(await both[0].ended, 0);
    t.ok(alive(pid), "one left, the other keeps the server");
    t.equal(postmaster(dir), pid);
    both[1].tell();
    t.equal(await both[1].ended, 0);
    t.ok(await gone(pid));
    t.equal(postmaster(dir), undefined);
  });

  await t.test("come while others go, many times", async (t) => {
    const script = `
      for (let i = 0; i < 8; i++) {
        const server = await acquireEmbedded(dir, fast);
        const client = await connect(server);
        for (let j = 0; j < 5; j++) await client.query("SELECT pg_sleep(0.002)");
        await client.end();
        await server.release();
      }`;
    const all = [1, 2, 3, 4].map(() => child(t, dir, script));
    t.strictSame(await Promise.all(all.map((one) => one.ended)), [0, 0, 0, 0]);
    t.equal(postmaster(dir), undefined);
  });

  await t.test("a killed holder leaves its server to the next", async (t) => {
    const holder = child(t, dir, hold);
    t.equal(await holder.line(), "acquired");
    const pid = postmaster(dir) as number;
    holder.process.kill("SIGKILL");
    await holder.ended;
    t.ok(alive(pid), "the server outlives it");
    const server = await acquireEmbedded(dir, fast);
    t.equal(postmaster(dir), pid, "adopted");
    await server.release();
    t.ok(await gone(pid), "and stopped");
  });

  await t.test("a process that forgets to release ends all the same", async (t) => {
    const forgetful = child(t, dir, `await acquireEmbedded(dir, fast); say("acquired");`);
    t.equal(await forgetful.ended, 0);
    t.type(postmaster(dir), "number");
    await (await acquireEmbedded(dir, fast)).release();
    t.equal(postmaster(dir), undefined);
  });
});

t.test("killed while writing: node, the server and all its processes", async (t) => {
  const dir = dataDir(t);
  await createCluster(dir, fast);
  // Not `fast` from here: that gives up committed rows when the server is killed.
  const write = `
    const server = await acquireEmbedded(dir);
    const client = await connect(server);
    await client.query("CREATE TABLE IF NOT EXISTS written (n serial)");
    say((await client.query("SELECT json_agg(pid) AS pids FROM pg_stat_activity")).rows[0].pids.join(" "));
    for (;;) say((await client.query("INSERT INTO written DEFAULT VALUES RETURNING n")).rows[0].n);
  `;
  for (const victims of ["the postmaster only", "every process"]) {
    const writer = child(t, dir, write);
    const backends = ((await writer.line()) as string).split(" ").map(Number);
    let last = 0;
    for (let i = 0; i < 50; i++) last = Number(await writer.line());
    const pid = postmaster(dir) as number;
    for (const victim of victims === "every process" ? [pid, ...backends] : [pid]) process.kill(victim, "SIGKILL");
    writer.process.kill("SIGKILL");
    await writer.ended;
    t.equal(postmaster(dir), pid, "a stale pid file is left");
    const server = await acquireEmbedded(dir);
    t.not(postmaster(dir), pid);
    const client = new pg.Client(server.connection("postgres"));
    client.on("error", () => {});
    await client.connect();
    const { rows } = await client.query("SELECT count(*)::int AS count FROM written WHERE n = $1", [last]);
    t.equal(rows[0].count, 1, `killed ${victims}: row ${last} is there`);
    await client.end();
    await server.release();
  }
});

t.test("a holder whose server fell comes back to it", async (t) => {
  const dir = dataDir(t);
  await createCluster(dir, fast);
  const server = await acquireEmbedded(dir, fast);
  const client = new pg.Client(server.connection("postgres"));
  client.on("error", () => {});
  await client.connect();
  const { rows } = await client.query("SELECT pg_backend_pid() AS pid");
  const pid = postmaster(dir) as number;
  process.kill(rows[0].pid, "SIGKILL"); // PostgreSQL then ends every session and recovers
  await client.end();
  await sleep(1500);
  const passing = await acquireEmbedded(dir, fast);
  await passing.release();
  t.equal(postmaster(dir), pid, "not stopped under the one that was there before");
  await server.release();
  t.equal(postmaster(dir), undefined);
});

/** What a server answers whom the kernel knows as this uid: the first byte of its answer, "R" for welcome. */
const greeting = (dir: string, role: string) => `
  const socket = require("node:net").connect(${JSON.stringify(join(dir, "socket", ".s.PGSQL.5432"))});
  const body = Buffer.from("user\\0${role}\\0database\\0sandpiper\\0\\0");
  const head = Buffer.alloc(8);
  head.writeInt32BE(body.length + 8, 0);
  head.writeInt32BE(196608, 4);
  socket.write(Buffer.concat([head, body]));
  socket.once("data", (data) => process.stdout.write(String.fromCharCode(data[0])) && socket.destroy());
  socket.once("error", (error) => process.stdout.write(error.code));`;

async function asUid(uid: number, script: string): Promise<string> {
  const started = spawn(process.execPath, ["-e", script], {
    uid,
    gid: uid,
    cwd: "/",
    stdio: ["ignore", "pipe", "inherit"],
  });
  let said = "";
  started.stdout.on("data", (piece) => (said += piece));
  await new Promise((resolve) => started.once("close", resolve));
  return said;
}

const root = process.getuid?.() === 0;
const nobody = 65534;

t.test(
  "as root, no other program logs in that happens to run as nobody",
  { skip: !root && "only root runs PostgreSQL as nobody" },
  async (t) => {
    const dir = dataDir(t);
    await createCluster(dir, fast);
    const look = async (what: string) => {
      const server = await acquireEmbedded(dir, fast);
      t.equal(statSync(join(dir, "postgres")).uid, nobody);
      for (const role of ["postgres", "sandpiper_app"] as const) {
        t.equal(await asUid(nobody, greeting(dir, role)), "E", `${what}: ${role} is refused`);
        const client = new pg.Client(server.connection(role));
        await client.connect();
        t.equal((await client.query("SELECT current_user AS me")).rows[0].me, role, `${what}: sandpiper logs in`);
        await client.end();
      }
      await server.release();
    };
    await look("a new cluster");
    // As the release before made them.
    writeFileSync(join(dir, "postgres", "pg_hba.conf"), "local all all trust\n");
    for (const name of ["postgres-hba.conf", "postgres-ident.conf"]) rmSync(join(dir, name));
    await look("an older one");
  },
);

t.test(
  "as nobody itself, and as any ordinary user, it logs in where it started the server",
  { skip: !root && "this is how all the other tests run" },
  async (t) => {
    const dir = join(dataDir(t), "own");
    mkdirSync(dir, { recursive: true });
    chownSync(dir, nobody, nobody);
    const script = `import(${JSON.stringify(compiled)}).then(async ({ createCluster, acquireEmbedded }) => {
    await createCluster(${JSON.stringify(dir)}, { fast: true });
    const server = await acquireEmbedded(${JSON.stringify(dir)}, { fast: true });
    await server.release();
    process.stdout.write("well");
  })`;
    t.equal(await asUid(nobody, script), "well");
    const server = await acquireEmbedded(dir, fast);
    t.equal(await asUid(nobody, greeting(dir, "sandpiper_app")), "R", "also where root has started it");
    await server.release();
  },
);

t.test("what Kubernetes does to a volume for its fsGroup is undone", async (t) => {
  const dir = dataDir(t);
  await createCluster(dir, fast);
  await (await acquireEmbedded(dir, fast)).release();
  for (const entry of readdirSync(dir, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (entry.isSymbolicLink()) continue;
    chmodSync(path, (statSync(path).mode & 0o7777) | 0o660 | (entry.isDirectory() ? 0o2010 : 0));
  }
  chmodSync(dir, 0o2770);
  const server = await acquireEmbedded(dir, fast);
  t.equal(statSync(join(dir, "postgres")).mode & 0o7777, 0o700);
  t.equal(statSync(join(dir, "socket")).mode & 0o7777, 0o700);
  for (const path of [dir, join(dir, "postgres-lib")].filter((path) => existsSync(path)))
    t.equal(statSync(path).mode & 0o022, 0, `only its owner writes to ${path}`);
  await server.release();
});

t.test("a small /dev/shm is named, and nothing is left of a data directory that could not be made", async (t) => {
  const base = mkdtempSync(join(tmpdir(), "sp-embedded-"));
  chmodSync(base, 0o711);
  t.teardown(() => rmSync(base, { recursive: true, force: true }));
  const dir = join(base, "data");
  const script = `import(${JSON.stringify(compiled)}).then(({ createCluster }) => createCluster(${JSON.stringify(dir)})).catch((error) => console.log(JSON.stringify({ ...error, message: error.message })))`;
  const mounted = 'mount -t tmpfs -o size=64k,mode=1777 tmpfs /dev/shm && exec "$0" -e "$1"';
  const made = spawnSync("unshare", ["-m", "sh", "-c", mounted, process.execPath, script], { encoding: "utf8" });
  if (made.status !== 0) return t.comment(`no mounts here: ${made.stderr}`);
  t.match(JSON.parse(made.stdout), {
    code: "storage",
    message: /could not resize shared memory segment .* No space left on device/,
    hint: /--shm-size/,
  });
  t.notOk(existsSync(dir));
});

t.test("refusals", async (t) => {
  const dir = dataDir(t);
  const long = join(dir, "x".repeat(100));
  const calls: ((dir: string) => Promise<unknown>)[] = [createCluster, acquireEmbedded, clusterExists];
  for (const refused of calls) {
    await t.rejects(refused(long), { code: "config", message: /too long/, hint: /shorter --data/ });
  }
  t.notOk(existsSync(dir), "nothing was created");
  await t.rejects(createCluster(join(dir, "a$b")), { code: "config", hint: /--data without/ });

  await createCluster(dir, fast);
  const conf = join(dir, "postgres", "postgresql.auto.conf");
  appendFileSync(conf, "shared_buffers = 'none'\n");
  const error = await acquireEmbedded(dir, fast).then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  t.ok(error instanceof SandpiperError);
  t.match(error, { code: "storage", message: /could not be started: .*postgresql.auto.conf/, hint: /Look into/ });
  t.match((error as SandpiperError).cause, { message: /shared_buffers/ });

  const closed = join(dir, "closed");
  mkdirSync(closed, { mode: 0o700 });
  const asRoot = process.getuid?.() === 0;
  await t.rejects(
    createCluster(join(closed, "data"), fast),
    { code: "config", hint: /\/var\/lib\/sandpiper/ },
    {
      skip: asRoot ? false : "only root runs PostgreSQL as another user",
    },
  );
});
