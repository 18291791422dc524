/** More partners than a primary serves at once: the line, what they are told, and who is sent away. */
import { setTimeout as sleep } from "node:timers/promises";
import t, { type Test } from "tap";
import { addLines, events, introduce, offer, Party, subscribe } from "./parties.ts";
import { partnerToken, RawPartner } from "./raw-partner.ts";

t.setTimeout(180_000);

/** A primary with so many places, and partners that exist in its database alone: A, B, C ... */
async function busyPrimary(t: Test, places: number, partners: number): Promise<{ primary: Party; tokens: string[] }> {
  const primary = await Party.make(t, "primary", "ABC Brakes");
  await primary.serve({ args: ["--server.max_syncs", String(places)] });
  const tokens: string[] = [];
  for (let n = 0; n < partners; n++) {
    const name = `Partner ${n}`;
    await primary.ok(["company", "add", name]);
    tokens.push(await partnerToken(primary, name));
  }
  return { primary, tokens };
}

t.test("the sixth partner of a primary with one place is sent away, the others have their turn", async (t) => {
  const { primary, tokens } = await busyPrimary(t, 1, 6);
  const serving = await RawPartner.connect(primary, tokens[0]!);
  t.match(await serving.message("begin"), { protocol: "2.0" });
  const waiting: RawPartner[] = [];
  for (const token of tokens.slice(1, 5)) {
    const partner = await RawPartner.connect(primary, token);
    t.match(await partner.message("queued"), { type: "queued", ahead: waiting.length, retry_after: 5 });
    waiting.push(partner);
  }
  const refused = await RawPartner.attempt(primary, tokens[5]!);
  if (refused instanceof RawPartner) throw new Error("not refused");
  t.match(refused, { status: 503, retryAfter: "15" });
  t.match(JSON.parse(refused.body), { status: 503, code: "unavailable", message: /line of waiting syncs is full/ });

  waiting[1]!.socket.terminate();
  await sleep(500);
  const late = await RawPartner.connect(primary, tokens[5]!);
  t.match(await late.message("queued"), { ahead: 3 }, "who hangs up leaves the line");
  const told = waiting[2]!.messages.length;
  while (waiting[2]!.messages.length === told) await sleep(20);
  t.match(waiting[2]!.messages.at(-1), { type: "queued", ahead: 1 });

  serving.send({ type: "bye" });
  t.equal(await serving.closed, 1000);
  await waiting[0]!.message("begin");
  t.notOk(waiting[2]!.messages.some(({ type }) => type === "begin"));
  waiting[0]!.socket.terminate();
  await waiting[2]!.message("begin");

  await primary.ok(["company", "deactivate", "Partner 4"]);
  t.equal(await waiting[3]!.closed, 4401, "who is switched off does not wait for its turn");
  const stopped = primary.server!.stop();
  t.equal(await late.closed, 1012, "who waits is sent away when the server stops");
  waiting[2]!.send({ type: "bye" });
  t.equal(await waiting[2]!.closed, 1000, "who is served is not");
  t.match(await stopped, { code: 0 });
});

t.test("one partner has no more than half of the line, and of the places", async (t) => {
  const { primary, tokens } = await busyPrimary(t, 2, 2);
  const [greedy, other] = tokens as [string, string];
  const open: RawPartner[] = [];
  for (let n = 0; n < 5; n++) open.push(await RawPartner.connect(primary, greedy));
  await open[0]!.message("begin");
  for (const partner of open.slice(1)) await partner.message("queued");
  t.match(await RawPartner.attempt(primary, greedy), { status: 429 });
  const modest = await RawPartner.connect(primary, other);
  await modest.message("begin");
  for (const partner of [...open, modest]) partner.socket.terminate();
});

t.test("real syncs wait for their turn, and say so once", async (t) => {
  const primary = await Party.make(t, "primary", "ABC Brakes");
  const failpoint = new URL("../harness/failpoint.js", import.meta.url).href;
  await primary.serve({ args: ["--server.max_syncs", "1"] });
  await offer(primary, "parts", "aces-items");
  await primary.batch("parts", addLines(0, 2000, 2000));
  const secondaries: Party[] = [];
  for (const name of ["Epicor", "AutoZone", "Pep Boys"]) {
    const secondary = await Party.make(t, "secondary", name);
    await introduce(primary, secondary);
    await subscribe(primary, "parts", secondary);
    secondaries.push(secondary);
  }
  // The first holds the place longer than anybody waits for a first answer.
  const first = secondaries[0]!.start(["sync"], {
    nodeArgs: ["--import", failpoint],
    env: { SP_FP: "s.tx.insert:1:sleep:17000" },
  });
  const db = await secondaries[0]!.db();
  while ((await db.query("SELECT 1 FROM staging")).length === 0) await sleep(20);
  const human = secondaries[1]!.start(["sync"]);
  const machine = secondaries[2]!.start(["sync", "--json"]);
  t.equal((await first.exited).code, 0, first.stderr());
  t.equal((await human.exited).code, 0, human.stderr());
  t.equal((await machine.exited).code, 0, machine.stderr());
  t.match(human.stderr(), /^ABC Brakes: the primary is busy; (we are next|1 sync comes before us)\n$/);
  t.equal(events(machine.stdout()).filter(({ event }) => event === "queued").length, 1);
  for (const secondary of secondaries) t.same(await secondary.content(), await primary.content());
});

t.test("a sync that finds the line full comes back when it was told to", async (t) => {
  const { primary, tokens } = await busyPrimary(t, 1, 5);
  const secondary = await Party.make(t, "secondary", "Epicor");
  await introduce(primary, secondary);
  await offer(primary, "parts", "aces-items", secondary);
  await primary.batch("parts", addLines(0, 10));
  const others = [];
  for (const token of tokens) others.push(await RawPartner.connect(primary, token));
  const impatient = await secondary.run(["sync", "--json", "--retry-for", "3"]);
  t.equal(impatient.code, 3);
  t.match(events(impatient.stdout)[0].error, { message: /HTTP 503\), and asks us to come back in 15 seconds/ });
  const run = secondary.start(["sync", "--json"]);
  while (!events(run.stdout()).some(({ event }) => event === "retry")) await sleep(20);
  for (const other of others) other.socket.terminate();
  t.equal((await run.exited).code, 0, run.stdout());
  t.ok(events(run.stdout())[0].wait_ms >= 15_000);
});
