/** A partner that takes nothing: it holds up nobody but itself, is dropped in time, and loses its rights at once. */
import { setTimeout as sleep } from "node:timers/promises";
import t, { type Test } from "tap";
import { introduce, offer, Party, subscribe } from "./parties.ts";
import { partnerToken, RawPartner } from "./raw-partner.ts";

t.setTimeout(180_000);

/** Grains that do not compress: some 24 MB. */
function bulk(): { add: { grain_key: string; source: string; encoding: "b64"; payload: string } }[] {
  let x = 1;
  return Array.from({ length: 600 }, (_, n) => {
    const bytes = Buffer.alloc(40_000);
    for (let i = 0; i < bytes.length; i++) {
      x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
      bytes[i] = x >>> 24;
    }
    return { add: { grain_key: `part ${n}`, source: "", encoding: "b64", payload: bytes.toString("base64") } };
  });
}

/** A primary with a large slice, a secondary, and a raw partner that has stopped reading in the middle of a fetch. */
async function stalled(t: Test, idleSeconds: number) {
  const primary = await Party.make(t, "primary", "ABC Brakes");
  await primary.serve({ args: ["--sync.idle_seconds", String(idleSeconds)] });
  await primary.ok(["company", "add", "Slow"]);
  const secondary = await Party.make(t, "secondary", "Epicor");
  await introduce(primary, secondary);
  await offer(primary, "bulk", "aces-items", secondary);
  const db = await primary.db();
  const slow = await RawPartner.connect(primary, await partnerToken(primary, "Slow"));
  await subscribe(primary, "bulk", { company: "Slow" } as Party);
  await primary.batch("bulk", bulk());
  const slice = await db.one<{ id: string }>("SELECT id FROM slices");
  await slow.fetchAll(slice!.id);
  while (slow.frames < 2) await sleep(1);
  slow.socket.pause();
  const pausedMs = performance.now();
  // It is alive as far as pings go.
  const pinging = setInterval(() => slow.socket.readyState === 1 && slow.socket.ping(), 500);
  t.teardown(() => {
    clearInterval(pinging);
    slow.socket.terminate();
  });
  /** Milliseconds after the pause until the primary's log has this event of Slow's. */
  const logged = async (event: string, withinMs: number): Promise<{ after: number; line: Record<string, unknown> }> => {
    const deadline = performance.now() + withinMs;
    for (;;) {
      const line = primary
        .server!.stderr()
        .split("\n")
        .filter((text) => text.includes(event))
        .map((text) => JSON.parse(text))
        .find(({ company }) => company === "Slow");
      if (line !== undefined) return { after: performance.now() - pausedMs, line };
      if (performance.now() > deadline) throw new Error(`no ${event}\n${primary.server!.stderr()}`);
      await sleep(20);
    }
  };
  return { primary, secondary, slow, logged };
}

t.test("another partner syncs meanwhile, and the slow one is dropped after sync.idle_seconds", async (t) => {
  const { primary, secondary, logged } = await stalled(t, 8);
  const run = await secondary.run(["sync"]);
  t.equal(run.code, 0, run.stderr);
  t.same(await secondary.content(), await primary.content());
  t.notMatch(primary.server!.stderr(), "sync.failed", "the slow one is still connected");
  const { after, line } = await logged("sync.failed", 30_000);
  t.ok(after > 7500 && after < 14_000, `dropped after ${Math.round(after)} ms`);
  t.match(line, { code: "timeout", reason: "the secondary accepted nothing for 8 seconds" });
});

for (const [what, revoke] of Object.entries<(primary: Party) => Promise<unknown>>({
  "a subscription that is withdrawn": async (primary) => primary.ok(["subscription", "remove", "bulk-Slow"]),
  "a subscription that is switched off": async (primary) => primary.ok(["subscription", "deactivate", "bulk-Slow"]),
  "a key that is revoked": async (primary) =>
    (await primary.db()).run("DELETE FROM api_keys k USING companies c WHERE c.id = k.company_id AND c.name = 'Slow'"),
  "a company that is switched off": async (primary) => primary.ok(["company", "deactivate", "Slow"]),
})) {
  t.test(`${what} ends the stream within 5 s, though it is back-pressured`, async (t) => {
    const { primary, slow, logged } = await stalled(t, 60);
    await sleep(500);
    const revoking = performance.now();
    await revoke(primary);
    await logged("sync.failed", 20_000);
    const took = performance.now() - revoking;
    t.ok(took < 5000, `after ${Math.round(took)} ms, the command included`);
    slow.socket.resume();
    await slow.closed;
    t.notOk(slow.messages.some(({ type }) => type === "end"));
  });
}
