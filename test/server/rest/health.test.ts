/** What watchdogs and balancers are told. */
import { once } from "node:events";
import net from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { parseConfig } from "../../../src/config/config.ts";
import { openDatabase } from "../../../src/database/database.ts";
import { statementsOf } from "../../harness/statements.ts";
import { serverOf } from "../support.ts";

t.test("a database that takes nothing is not ready", async (t) => {
  const server = await serverOf(t, "primary");
  t.equal((await server.get("/readyz")).status, 200);
  const { url } = server.app.config.database;
  const owner = await openDatabase(
    parseConfig({ flags: [], environment: { SANDPIPER_DATABASE_URL: url! }, file: "x" }),
    {
      as: "owner",
    },
  );
  t.teardown(() => owner.close());
  const name = new URL(url!).pathname.slice(1);
  // Whoever connects from now on is told; those who are connected have to come again.
  const set = async (to: string) => {
    await owner.run(`ALTER DATABASE ${name} ${to}`);
    await owner.run(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()",
    );
    await sleep(1200);
  };
  await set("SET default_transaction_read_only = on");
  const refused = await server.get("/readyz");
  t.match(refused, { status: 503, json: { code: "storage" } });
  t.notMatch(refused.text, /read.only/);
  t.match(server.log(), /the database is read only/);
  t.equal((await server.get("/healthz")).status, 200);
  await owner.run("SET default_transaction_read_only = off");
  await set("RESET default_transaction_read_only");
  t.equal((await server.get("/readyz")).status, 200, "and is again");
});

t.test("asking is free", async (t) => {
  const server = await serverOf(t, "primary");
  const sent = await statementsOf(() => Promise.all(Array.from({ length: 100 }, () => server.get("/readyz"))));
  t.ok(sent.length < 30, `${sent.length} statements for 100 questions`);
});

t.test("a connection is kept for longer than balancers keep theirs", async (t) => {
  const server = await serverOf(t, "primary");
  const socket = net.connect(server.port, "127.0.0.1");
  t.teardown(() => socket.destroy());
  for (const pauseMs of [0, 13_000]) {
    await sleep(pauseMs);
    socket.write("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
    const [answer] = (await once(socket, "data")) as [Buffer];
    t.match(answer.toString(), /^HTTP\/1.1 200 [\s\S]*\r\nKeep-Alive: timeout=75,/);
  }
});
