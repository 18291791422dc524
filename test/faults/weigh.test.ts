/** The scales notice what is heavy, and blame nobody else for it. */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { availableParallelism } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import t from "tap";
import { judge, weighAlone } from "./weigh/judge.ts";
import { isTooHeavy, Scales, type Weighed } from "./weigh/scales.ts";

t.setTimeout(180_000);

async function heavyServer(test: {
  teardown(work: () => Promise<void>): unknown;
}): Promise<{ url: string; pid: number }> {
  const child: ChildProcess = fork(fileURLToPath(new URL("./weigh/heavy-server.js", import.meta.url)), {
    execArgv: [],
    stdio: ["ignore", "pipe", "inherit", "ipc"],
  });
  test.teardown(async () => {
    if (child.signalCode !== null) return;
    const gone = once(child, "exit");
    child.kill("SIGKILL");
    await gone;
  });
  const [line] = await once(child.stdout!, "data");
  const url = String(line).trim();
  for (const _ of "warm") await fetch(`${url}/healthz`);
  return { url, pid: child.pid! };
}

const rows = {
  light: "/work/20",
  "busy for 400 ms": "/work/400",
  "asleep for 400 ms": "/freeze/400",
  "takes 150 MB": "/take/150",
};
type Name = keyof typeof rows;

t.test("a server that blocks for 400 ms, and one that takes 150 MB", async (t) => {
  const server = await heavyServer(t);
  const ask = (name: Name) => fetch(server.url + rows[name]);
  const scales = await Scales.set({ name: "server", ...server });
  for (const name of Object.keys(rows) as Name[]) {
    await scales.rowAfterAll(name, () => ask(name));
    await sleep(100);
  }
  const weights = new Map((await scales.weights()).map((weighed) => [weighed.row, weighed]));
  await scales.end();
  const {
    light,
    "busy for 400 ms": busy,
    "asleep for 400 ms": asleep,
    "takes 150 MB": large,
  } = Object.fromEntries(weights);
  t.notOk(isTooHeavy(light!), JSON.stringify(light));
  for (const late of [busy!, asleep!]) {
    t.ok(late.lateMs > 300 && late.lateMs < 800, JSON.stringify(late));
    t.ok(late.grownMb < 50, JSON.stringify(late));
  }
  t.ok(large!.grownMb > 140 && large!.grownMb < 200, JSON.stringify(large));
});

t.test("of rows side by side all are suspects, and the heavy one is found", async (t) => {
  const server = await heavyServer(t);
  const ask = (name: string) => fetch(server.url + rows[name as Name]);
  const scales = await Scales.set({ name: "server", ...server });
  await Promise.all(
    Object.keys(rows).map((name) =>
      scales.row(name, async () => {
        await ask(name);
        await sleep(1000);
      }),
    ),
  );
  const all = await scales.weights();
  await scales.end();
  t.equal(all.filter(isTooHeavy).length, 4);
  const found = await judge(all, ({ row }) => weighAlone(server, () => ask(row)));
  t.same(
    found.map((text) => text.split(":")[0]).sort(),
    ["asleep for 400 ms", "busy for 400 ms", "takes 150 MB"],
    found.join("; "),
  );
});

t.test("a machine that is busy is not taken for a server that is blocked", async (t) => {
  const server = await heavyServer(t);
  const busy = await Promise.all(Array.from({ length: 2 * availableParallelism() }, () => heavyServer(t)));
  const scales = await Scales.set({ name: "server", ...server });
  const work = Promise.all(busy.map(({ url }) => fetch(`${url}/work/400`)));
  await scales.rowAfterAll("beside others", () => work);
  const [weighed] = await scales.weights();
  await scales.end();
  t.ok(weighed!.lateMs < 250, JSON.stringify(weighed));
});

t.test("what happened once is no verdict, and what does not answer is heavy", async (t) => {
  const suspect: Weighed = { row: "it", at: "server", lateMs: 300, grownMb: 0 };
  let n = 0;
  t.same(
    await judge([suspect], async () => ({ lateMs: n++ === 0 ? 300 : 10, grownMb: 0 })),
    [],
    "the second time it was light",
  );
  t.same(
    await judge([{ ...suspect, lateMs: 10 }], async () => t.fail("nobody is weighed who is not suspect") as never),
    [],
  );
  const server = await heavyServer(t);
  const scales = await Scales.set({ name: "server", ...server });
  await scales.row("death", async () => {
    process.kill(server.pid, "SIGKILL");
    await sleep(200);
  });
  const [dead] = await scales.weights();
  await scales.end();
  t.ok(isTooHeavy(dead!), JSON.stringify(dead));
});
